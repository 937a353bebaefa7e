"""Where activations lie in an arena: a search, where first fit by size leaves gaps.

Buffers are laid one after the other at the lowest place that is free for as long as they live; the
order in which that is done decides how high the arena gets. Several orders are tried, and then the
best is bettered: a buffer that lies highest is laid earlier, again and again.

Source: dynamic storage allocation as in Pisarchyk and Lee, "Efficient Memory Management for Deep
Neural Net Inference" (2020, arXiv:2001.03288), for the orders by size and by breadth; the search
that follows is a local search over the order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from edgepress.benchmarks.tflite.arena import Need, most_alive

# Buffers that the search lays in all: of a large graph it tries fewer orders, so that its time
# grows no faster than the graph.
_WORK = 400_000
_FEWEST, _MOST = 40, 2_000


def search_offsets(needs: Sequence[Need]) -> list[int]:
    """An offset for each buffer, so that none that live together overlap and the arena is low.

    Args:
        needs: The buffers, in any order.

    Returns:
        Their offsets in bytes, in the same order; the same ones in every call.
    """
    if not needs:
        return []
    beside = _beside(needs)
    least = most_alive(needs)
    best, order = min(
        (_laid(needs, beside, sorted(range(len(needs)), key=by(needs))) for by in _ORDERS),
        key=lambda tried: _height(needs, tried[0]),
    )
    lowest = _height(needs, best)
    chance = random.Random(0)
    rounds = max(_FEWEST, min(_MOST, _WORK // len(needs)))
    offsets = best
    for _ in range(rounds):
        if lowest == least:
            break
        offsets, order, height = _changed(needs, beside, offsets, order, chance)
        if height <= lowest:
            best, lowest = offsets, height
    return best


def _laid(
    needs: Sequence[Need], beside: Sequence[Sequence[int]], order: list[int]
) -> tuple[list[int], list[int]]:
    """Offsets by first fit in an order, and the order."""
    offsets = [-1] * len(needs)
    for index in order:
        taken = sorted((offsets[j], needs[j].size) for j in beside[index] if offsets[j] >= 0)
        lowest = 0
        for offset, size in taken:
            if offset - lowest >= needs[index].size:
                break
            lowest = max(lowest, offset + size)
        offsets[index] = lowest
    return offsets, order


def _changed(
    needs: Sequence[Need],
    beside: Sequence[Sequence[int]],
    offsets: list[int],
    order: list[int],
    chance: random.Random,
) -> tuple[list[int], list[int], int]:
    """The order with a buffer moved that lies highest, or one beside it, where that is no worse."""
    height = _height(needs, offsets)
    top = [i for i in range(len(needs)) if offsets[i] + needs[i].size == height]
    moved = chance.choice(top)
    if chance.random() < 0.5 and beside[moved]:
        moved = chance.choice(beside[moved])
    place = order.index(moved)
    other = chance.randrange(len(order))
    changed = list(order)
    if chance.random() < 0.5:
        changed[place], changed[other] = changed[other], changed[place]
    else:
        changed.insert(min(place, other), changed.pop(place))
    laid, changed = _laid(needs, beside, changed)
    new = _height(needs, laid)
    # Equal heights are taken, too: plateaus are wide.
    return (laid, changed, new) if new <= height else (offsets, order, height)


def _height(needs: Sequence[Need], offsets: Sequence[int]) -> int:
    return max(offset + need.size for offset, need in zip(offsets, needs, strict=True))


def _beside(needs: Sequence[Need]) -> list[list[int]]:
    """For each buffer those that live at the same time."""
    by_begin = sorted(range(len(needs)), key=lambda i: needs[i].first)
    found: list[list[int]] = [[] for _ in needs]
    alive: list[int] = []
    for index in by_begin:
        alive = [j for j in alive if needs[j].last >= needs[index].first]
        for other in alive:
            found[index].append(other)
            found[other].append(index)
        alive.append(index)
    return found


_Key = Callable[[int], tuple[int, ...]]


def _by_size(needs: Sequence[Need]) -> _Key:
    return lambda i: (-needs[i].size, i)


def _by_size_and_life(needs: Sequence[Need]) -> _Key:
    return lambda i: (-needs[i].size * (needs[i].last - needs[i].first + 1), i)


def _by_life(needs: Sequence[Need]) -> _Key:
    return lambda i: (needs[i].first - needs[i].last, -needs[i].size, i)


def _by_breadth(needs: Sequence[Need]) -> _Key:
    """Those first that live while most memory is needed."""
    steps = max(need.last for need in needs) + 1
    alive = [0] * steps
    for need in needs:
        for step in range(need.first, need.last + 1):
            alive[step] += need.size
    widest = [max(alive[need.first : need.last + 1]) for need in needs]
    return lambda i: (-widest[i], -needs[i].size, i)


def _by_begin(needs: Sequence[Need]) -> _Key:
    return lambda i: (needs[i].first, -needs[i].size, i)


_ORDERS = (_by_size, _by_breadth, _by_size_and_life, _by_life, _by_begin)
