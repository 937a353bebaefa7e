"""Criteria that look at the model's behaviour on data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edgepress.compress.structure.importance.evidence import Evidence
    from edgepress.compress.structure.importance.observations import Reader
    from edgepress.compress.structure.tracing.groups import Group

Vector = NDArray[np.float64]
# Share of the mean variance added to each feature: keeps the inverse finite, and says how far a
# few hundred samples can be trusted.
_RIDGE = 1e-3


def activation(group: Group, evidence: Evidence) -> Vector:
    """Mean absolute value of a unit where layers read it.

    Source: Molchanov et al., "Pruning convolutional neural networks for resource efficient
    inference" (2017).
    """
    return np.asarray(evidence.observations.magnitude[group.units])


def apoz(group: Group, evidence: Evidence) -> Vector:
    """Share of a unit's values that aren't zero.

    Source: Hu et al., "Network trimming" (2016): the average percentage of zeros, turned round.
    """
    return np.asarray(evidence.observations.activity[group.units])


def taylor(group: Group, evidence: Evidence) -> Vector:
    """Squared first-order change of the loss when a unit is removed.

    Source: Molchanov et al., "Importance estimation for neural network pruning" (2019).
    """
    return np.asarray(evidence.taylor[group.units])


def reconstruction(group: Group, evidence: Evidence) -> Vector:
    """What the layers that read a unit lose when it goes and the others are refitted.

    Units go one by one, each time the one whose loss is least when the kernels of all readers are
    refitted by least squares to what is left; the score is the share of the readers' output
    variance that is lost at that step. So a unit that others can stand in for scores low, and of
    two that stand in for each other only the first does.

    Source: Hassibi and Stork, "Second order derivatives for network pruning: optimal brain
    surgeon" (1993), for whole units of the layer-wise squared error; elimination by blocks.
    """
    readers = [
        _Elimination.of(reader, group)
        for reader in evidence.observations.readers
        if np.isin(reader.units, group.units).any()
    ]
    if not readers:
        return activation(group, evidence)
    left = list(range(group.size))
    scores = np.zeros(group.size)
    lost = 0.0
    while left:
        losses = np.sum([reader.losses(left) for reader in readers], axis=0)
        least = int(np.argmin(losses))
        # Later removals never count less, so that the order by score is the order of removal.
        lost = max(lost * (1 + 1e-9), float(losses[least]))
        scores[left[least]] = lost
        for reader in readers:
            reader.remove(left[least])
        del left[least]
    return scores


@dataclass(eq=False)
class _Elimination:
    """Backward elimination in one reader.

    Attributes:
        inverse: Inverse of the regularised covariance of the features that are left.
        kernel: The kernel, refitted after every removal.
        places: For each unit of the group, its features.
        energy: Output variance at the start.
    """

    inverse: NDArray[np.float64]
    kernel: NDArray[np.float64]
    places: list[NDArray[np.int64]]
    energy: float

    @classmethod
    def of(cls, reader: Reader, group: Group) -> _Elimination:
        """The state before anything is removed."""
        size = len(reader.covariance)
        ridge = _RIDGE * np.trace(reader.covariance) / size + 1e-12
        inverse = np.linalg.inv(reader.covariance + ridge * np.eye(size))
        order = np.argsort(reader.units, kind="stable")
        bounds = np.searchsorted(reader.units[order], [group.units, group.units + 1])
        places = [order[a:b] for a, b in bounds.T]
        return cls(inverse, reader.kernel.copy(), places, max(reader.energy, 1e-30))

    def losses(self, units: list[int]) -> NDArray[np.float64]:
        """For each unit, the share of the output's variance that its removal would cost."""
        found = np.zeros(len(units))
        for row, unit in enumerate(units):
            here = self.places[unit]
            if len(here):
                block, weights = self.inverse[np.ix_(here, here)], self.kernel[here]
                found[row] = np.sum(weights * np.linalg.solve(block, weights))
        return found / self.energy

    def remove(self, unit: int) -> None:
        """Take a unit out, and refit the kernel rows of those that stay."""
        here = self.places[unit]
        if not len(here):
            return
        cross = np.linalg.solve(self.inverse[np.ix_(here, here)], self.inverse[here])
        self.kernel -= cross.T @ self.kernel[here]
        self.inverse -= self.inverse[:, here] @ cross
        self.kernel[here] = 0
        self.inverse[here], self.inverse[:, here] = 0, 0
        self.inverse[here, here] = 1
