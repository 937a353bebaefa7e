"""Which points no other beats, and which come next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# By the number of a trial its figures, all so that less is better.
Points = Mapping[int, Sequence[float]]


def front(points: Points) -> list[int]:
    """Numbers of the trials that no other beats in every objective."""
    return [n for n, p in points.items() if not any(_beats(q, p) for q in points.values())]


def shortlist(points: Points, most: int) -> list[int]:
    """Trials that a new measurement might bring to the front: it, the next front, and so on."""
    left, found = dict(points), list[int]()
    while left and len(found) < most:
        best = front(left)
        found += best
        left = {n: p for n, p in left.items() if n not in best}
    return sorted(found[: max(most, len(front(points)))])


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
