"""How much each weight matters, from the weights alone."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jaxtyping import Float

from edgepress.compress.kernel.registry import Table


class WeightCriterion(Protocol):
    """Scores the weights of one kernel."""

    def __call__(self, planes: Float[np.ndarray, "s i o"]) -> Float[np.ndarray, "s i o"]:
        """Give scores of the same shape; the lowest are removed first."""


def magnitude(planes: Float[np.ndarray, "s i o"]) -> Float[np.ndarray, "s i o"]:
    """The absolute value; a block's is the mean of its weights' (TFMOT's "AVG")."""
    return np.abs(planes)


def squared_magnitude(planes: Float[np.ndarray, "s i o"]) -> Float[np.ndarray, "s i o"]:
    """The square, which lets single large weights of a block count for more."""
    return np.square(planes)


# The criterion that isn't a score: weights are chosen and the rest refitted from data.
SECOND_ORDER = "second-order"

WEIGHT_CRITERIA: Table[WeightCriterion] = Table(
    "weight criterion",
    {"magnitude": magnitude, "l1": magnitude, "l2": squared_magnitude},
    "edgepress.weight_criteria",
)
