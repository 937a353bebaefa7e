"""Three files of those that keep the floor: the safest, the knee, the smallest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgepress.deploy.fitting.choosing import Tried

SAFEST, KNEE, SMALLEST = "safest", "knee", "smallest"


def picks(tried: Sequence[Tried], max_drop: float) -> Mapping[str, int]:
    """Positions of the picks among the trials; the same trial may be several.

    The safest falls least, the smallest has the least objective; the knee lies furthest from the
    line between these two, both figures scaled to 0..1.

    Args:
        tried: All trials.
        max_drop: Largest fall of the metric.

    Returns:
        Position by name of the pick; empty where no trial keeps the floor.

    Source: for the knee, Satopää et al., "Finding a 'kneedle' in a haystack" (ICDCS workshops,
        2011).
    """
    front = _front({n: t for n, t in enumerate(tried) if t.keeps(max_drop)})
    if not front:
        return {}
    safest, smallest = front[0], front[-1]
    points = np.array([[tried[n].drop, tried[n].objective] for n in front], float)
    span = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(span > 0, span, 1.0)
    # From the safest (0, 1) to the smallest (1, 0): what lies below the line has a sum under 1.
    return {SAFEST: safest, KNEE: front[int(np.argmin(scaled.sum(axis=1)))], SMALLEST: smallest}


def _front(kept: Mapping[int, Tried]) -> list[int]:
    """The trials that no other beats in both figures, the one that falls least first."""
    order = sorted(kept, key=lambda n: (kept[n].drop, kept[n].objective, n))
    found: list[int] = []
    for n in order:
        objective = kept[n].objective or 0.0
        if not found or objective < (kept[found[-1]].objective or 0.0):
            found.append(n)
    return found
