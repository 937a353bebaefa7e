"""Latency, sizes, memory and energy of one row against its earlier self.

A time is worse only when it is so beyond what both runs could see: their 95 % intervals are apart,
and the difference exceeds their noise. Sizes are exact. Memory and energy, which vary from launch
to launch, are worse where the launches' ranges are apart as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgepress.benchmarks.gate.change import BETTER, SAME, UNKNOWN, WORSE, Change, within
from edgepress.benchmarks.gate.tolerances import Tolerances

Row = Mapping[str, Any]
_LOST = "the earlier result has it, today it wasn't measured"
_ESTIMATED = "the time {} says nothing: it is that of an emulator or an estimate"


def figure_changes(
    old: Row, new: Row, tolerances: Tolerances, noise: float, moved: str = ""
) -> Iterator[Change]:
    """The changes of everything but the metric.

    Args:
        old: The earlier row.
        new: The present one.
        tolerances: What counts as the same.
        noise: Smallest share of the latency that both runs could see.
        moved: What differs about the device itself, which makes times and memory incomparable;
            empty for the same device.
    """
    allowed = tolerances
    timed = [row.get("timing_valid", True) for row in (old, new)]
    if any(timed):
        unlike = "" if all(timed) else _ESTIMATED.format("earlier" if timed[1] else "today")
        yield _latency(old, new, max(noise, allowed.latency_tolerance), moved or unlike)
    yield from _exact(old, new, ("size", "bytes"), allowed.size_tolerance)
    yield from _exact(old, new, ("arena", "arena_bytes"), allowed.size_tolerance)
    memory = ("memory", "peak_memory_bytes", "peak_memory_launches_bytes")
    yield from _ranged(old, new, memory, allowed.memory_tolerance, moved)
    energy = ("energy", "energy_mj", "energy_launches_mj")
    yield from _ranged(old, new, energy, allowed.energy_tolerance, moved)


def _change(
    row: Row, quantity: str, values: tuple[Any, Any], verdict: str, reason: str, tolerance: float
) -> Change:
    name, device = str(row.get("label") or row["artifact"]), str(row.get("device") or "local")
    return Change(name, device, quantity, *values, verdict, reason, tolerance)


def _latency(old: Row, new: Row, noise: float, moved: str) -> Change:
    values = old["median_ms"], new["median_ms"]
    if moved or not values[0]:
        verdict, reason = UNKNOWN, moved or "the earlier time is 0"
    else:
        verdict, reason = _time_verdict(old, new, noise)
    return _change(new, "latency", values, verdict, reason, noise)


def _time_verdict(old: Row, new: Row, noise: float) -> tuple[str, str]:
    ratio = new["median_ms"] / old["median_ms"]
    apart = new["ci95_ms"][0] > old["ci95_ms"][1] or new["ci95_ms"][1] < old["ci95_ms"][0]
    change = f"{ratio - 1:+.1%}"
    if not apart:
        return SAME, f"{change}, but the 95 % intervals overlap"
    if within(abs(ratio - 1), noise):
        return SAME, f"{change}, within the noise of {noise:.1%}"
    verdict = WORSE if ratio > 1 else BETTER
    return verdict, f"{change}, intervals apart, beyond the noise of {noise:.1%}"


def _exact(old: Row, new: Row, field: tuple[str, str], tolerance: float) -> Iterator[Change]:
    quantity, key = field
    before, after = old.get(key), new.get(key)
    if not before:
        return
    if not after:
        yield _change(new, quantity, (before, None), UNKNOWN, _LOST, tolerance)
        return
    verdict, change = _by_tolerance(before, after, tolerance)
    yield _change(new, quantity, (before, after), verdict, f"counted, {change}", tolerance)


def _by_tolerance(before: float, after: float, tolerance: float) -> tuple[str, str]:
    growth = after / before - 1
    if after == before:
        return SAME, "unchanged"
    if within(abs(growth), tolerance):
        return SAME, f"{growth:+.2%}, within the tolerance of {tolerance:.1%}"
    verdict = WORSE if growth > 0 else BETTER
    return verdict, f"{growth:+.1%}, beyond the tolerance of {tolerance:.1%}"


def _ranged(
    old: Row, new: Row, fields: tuple[str, str, str], tolerance: float, moved: str
) -> Iterator[Change]:
    quantity, key, launches = fields
    before, after = old.get(key), new.get(key)
    if not before:
        return
    if not after or moved:
        yield _change(new, quantity, (before, after or None), UNKNOWN, moved or _LOST, tolerance)
        return
    verdict, change = _by_tolerance(before, after, tolerance)
    one, other = old.get(launches) or (), new.get(launches) or ()
    if verdict == SAME:
        reason = change
    elif len(one) < 2 or len(other) < 2:
        reason = f"{change}; one figure each, no test"
    elif max(one) < min(other) or max(other) < min(one):
        reason = f"{change}, ranges of {len(one)} and {len(other)} launches apart"
    else:
        verdict, reason = SAME, f"{change}, but the launches' ranges overlap"
    yield _change(new, quantity, (before, after), verdict, reason, tolerance)
