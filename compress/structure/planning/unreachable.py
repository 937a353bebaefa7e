"""Saying why a target is out of reach."""

from __future__ import annotations

import math

from edgepress.compress.errors import InputError
from edgepress.compress.specs.pruning import ChannelsSpec
from edgepress.compress.structure.tracing.groups import Channels

# How many reasons are worth reading.
_MOST = 2


def unreachable(
    channels: Channels, spec: ChannelsSpec, what: str, limit: float, lowest: float, full: float
) -> InputError:
    """The error that says what the lowest reachable value is and what holds it.

    Args:
        channels: The model's units.
        spec: What was asked for.
        what: What is counted.
        limit: How much of it may stay.
        lowest: How much is left at least.
        full: How much there is.
    """
    held = sorted((g for g in channels.groups if not g.prunable), key=lambda g: -g.size)
    reasons = [*_without_channels(channels), *(g.reason for g in held)]
    reasons = list(dict.fromkeys(reasons))[:_MOST]
    if spec.per_layer:
        reasons.insert(0, "per_layer fixes " + ", ".join(list(spec.per_layer)[:3]))
    if spec.min_channels > 1:
        reasons.insert(0, f"min_channels is {spec.min_channels}")
    finer = spec.round_to is not None and spec.round_to > 1
    if finer:
        reasons.insert(0, f"widths are multiples of round_to {spec.round_to}")
    if any(g.prunable for g in channels.groups):
        reasons.append("no layer is emptied")
    digits = 3 if what.startswith("ms ") else 0
    return InputError(
        f"{limit:,.{digits}f} {what} can't be reached: the lowest is {lowest:,.{digits}f}"
        f" ({lowest / full:.2f} of {full:,.{digits}f}); limited by: {'; '.join(reasons)}",
        f"raise the target, or {'ask for a lower round_to' if finer else 'unprotect those layers'}",
    )


def _without_channels(channels: Channels) -> list[str]:
    """Why no channels run along the weights of some layers, the largest layers first."""
    bound = {id(b.weight) for b, _ in channels.bound}
    sizes = {}
    for visit in channels.trace.visits:
        weights = getattr(visit.call.operation, "weights", ())
        if weights and not any(id(w) in bound for w in weights):
            sizes[visit.call.path] = sum(math.prod(w.shape) for w in weights)
    reasons = [reason for _, reason in channels.trace.pins]
    largest = sorted(sizes, key=lambda path: -sizes[path])
    found = (next((r for r in reasons if f"'{path}'" in r), "") for path in largest)
    return [reason for reason in found if reason]
