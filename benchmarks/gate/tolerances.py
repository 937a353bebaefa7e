"""How much worse a figure may get before that is a regression."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from edgepress.compress.specs.notation import parse_share
from edgepress.compress.specs.training import Spec

Share = Annotated[float, BeforeValidator(parse_share), Field(ge=0, allow_inf_nan=False)]


class Tolerances(Spec):
    """What counts as the same.

    Attributes:
        max_drop: Largest fall of the metric: points of a score as a share of 1, or the share by
            which an error grows.
        latency_tolerance: Share by which the latency may grow, where the noise of the runs is
            not larger.
        size_tolerance: Share by which the file and the arena may grow.
        memory_tolerance: Share by which the peak memory may grow.
        energy_tolerance: Share by which the energy of one inference may grow.
    """

    max_drop: Share = 0.01
    latency_tolerance: Share = 0.03
    size_tolerance: Share = 0.01
    memory_tolerance: Share = 0.1
    energy_tolerance: Share = 0.1
