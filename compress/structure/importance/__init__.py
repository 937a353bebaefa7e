"""The table of channel criteria. Nothing heavy is imported here: the command line lists the names.

A criterion is one function:

    def score(group: Group, evidence: Evidence) -> (units,) float array

A higher score means a more important unit. Packages add theirs through the entry-point group
`edgepress.channel_criteria`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.kernel.registry import Table
from edgepress.compress.structure.importance import from_data, from_weights

if TYPE_CHECKING:
    from edgepress.compress.structure.importance.evidence import Evidence
    from edgepress.compress.structure.tracing.groups import Group


class Score(Protocol):
    """How much each unit of a group matters."""

    def __call__(self, group: Group, evidence: Evidence, /) -> NDArray[np.float64]:
        """Score a group.

        Args:
            group: The `Group`.
            evidence: The `Evidence`: weights, and with data what was observed on it.

        Returns:
            (units,) float64, non-negative, higher for what should stay.
        """


@dataclass(frozen=True)
class Criterion:
    """A criterion and what it needs.

    Attributes:
        score: The function.
        needs: "" (weights only), "inputs" (calibration samples) or "targets" (samples with their
            targets).
        comparable: Whether scores of different groups have the same unit, as those measured on data
            have; others are divided by their group's mean before groups are ranked together.
        source: Where it comes from.
    """

    score: Score
    needs: str = ""
    comparable: bool = False
    source: str = ""


CRITERIA: Table[Criterion] = Table(
    "criterion",
    {
        "l1": Criterion(from_weights.l1, source="Li et al. 2017"),
        "l2": Criterion(from_weights.l2, source="He et al. 2018a"),
        "bn-scale": Criterion(from_weights.bn_scale, source="Liu et al. 2017"),
        "fpgm": Criterion(from_weights.fpgm, source="He et al. 2019"),
        "lamp": Criterion(from_weights.lamp, comparable=True, source="Lee et al. 2021"),
        "random": Criterion(from_weights.random),
        "activation": Criterion(from_data.activation, "inputs", source="Molchanov et al. 2017"),
        "apoz": Criterion(from_data.apoz, "inputs", source="Hu et al. 2016"),
        "taylor": Criterion(
            from_data.taylor, "targets", comparable=True, source="Molchanov et al. 2019"
        ),
        "reconstruction": Criterion(
            from_data.reconstruction, "inputs", comparable=True, source="Hassibi and Stork 1993"
        ),
    },
    "edgepress.channel_criteria",
)
