"""Predicted latency: measured times of each layer as a function of its widths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.structure.budgets.budget import Counts
from edgepress.compress.structure.budgets.layer_size import LayerSize
from edgepress.compress.structure.budgets.sized_layers import Sized, sized
from edgepress.compress.structure.tracing.groups import Alive, Channels, Units

Measure = Callable[[Sequence[LayerSize]], Mapping[LayerSize, float]]
Floats = NDArray[np.float64]

# Widths at which each axis of a kernel is measured.
POINTS = 8
# A step of time that is smaller than this share of it counts as flat.
FLAT = 0.02
# How far above the line between its neighbours, as a share of it, a width is at the costly end.
BUMP = 0.04


@dataclass(frozen=True, eq=False)
class _Curve:
    """Time over the width of one axis, as a share of the time at full width."""

    widths: Floats
    shares: Floats

    def __call__(self, width: int) -> float:
        return float(np.interp(width, self.widths, self.shares))


@dataclass(frozen=True, eq=False)
class _Layer:
    """One kernel: time at full width, and how it falls along its axes."""

    at: Sized
    full: float
    inputs: _Curve
    outputs: _Curve | None

    def time(self, shape: Sequence[int]) -> float:
        """Milliseconds when the kernel has this shape."""
        share = self.inputs(shape[self.at.input_axis])
        if self.outputs is not None and self.at.output_axis is not None:
            share *= self.outputs(shape[self.at.output_axis])
        return self.full * share


class LayerTimes:
    """What a model takes on a device when some units are removed, without building it.

    Each convolution and dense layer is measured alone at several numbers of inputs (with all
    outputs) and of outputs (with all inputs); its time at both is the product of the two shares.
    What the whole model takes beside them shrinks as the number of units does.

    Args:
        channels: The model's units.
        budget: Tells the shapes that are left of weights.
        measure: Milliseconds of layers of these sizes on the device.
        full: Milliseconds of the whole model on the device.
        round_to: Multiple that widths are kept at.
    """

    def __init__(
        self, channels: Channels, budget: Counts, measure: Measure, full: float, round_to: int
    ) -> None:
        self._budget, self._channels = budget, channels
        kernels = [s for visit in channels.trace.visits for s in sized(visit.call)]
        curves = [_axes(kernel, round_to) for kernel in kernels]
        wanted = dict.fromkeys(s for parts in curves for _, sizes in parts for s in sizes)
        times = measure(list(wanted))
        self._layers = [_layer(k, parts, times) for k, parts in zip(kernels, curves, strict=True)]
        alone = sum(layer.full for layer in self._layers)
        self._scale = min(1.0, full / alone) if alone else 1.0
        self._rest = full - self._scale * alone

    def __call__(self, alive: Alive) -> float:
        """Milliseconds with the units that are alive."""
        shapes = self._budget.shapes(alive)
        alone = sum(layer.time(shapes[id(layer.at.weight)]) for layer in self._layers)
        return self._scale * alone + self._rest * float(alive.mean())

    def part(self, units: Units) -> float:
        """Milliseconds of the layers that some units run along, all units being alive."""
        touched = {
            id(binding.weight)
            for binding, along in self._channels.bound
            if len(along) and self._among(along, units)
        }
        return self._scale * sum(x.full for x in self._layers if id(x.at.weight) in touched)

    def _among(self, along: Units, units: Units) -> bool:
        marked = np.zeros(self._channels.count + 1, bool)
        marked[units] = True
        return bool(marked[along].any())


def widths_measured(size: int, round_to: int) -> tuple[int, ...]:
    """Widths of an axis that are measured, rising: at most `POINTS`, the full one among them."""
    step = max(1, -(-size // POINTS))
    if step > round_to:
        step = -(-step // round_to) * round_to
    return tuple(sorted({size, *range(step, size, step)}))


def _axes(kernel: Sized, round_to: int) -> list[tuple[tuple[int, ...], list[LayerSize]]]:
    """For each axis of a kernel the widths and the sizes to measure."""
    size = kernel.size
    inputs = widths_measured(size.inputs, round_to)
    parts = [(inputs, [replace(size, inputs=w) for w in inputs])]
    if kernel.output_axis is not None:
        outputs = widths_measured(size.outputs, round_to)
        parts.append((outputs, [replace(size, outputs=w) for w in outputs]))
    return parts


def _layer(
    kernel: Sized,
    parts: Sequence[tuple[tuple[int, ...], list[LayerSize]]],
    times: Mapping[LayerSize, float],
) -> _Layer:
    full = max(times[kernel.size], 1e-9)
    curves = [
        _Curve(np.array([0, *widths], float), np.array([0.0, *(times[s] / full for s in sizes)]))
        for widths, sizes in parts
    ]
    return _Layer(kernel, full, curves[0], curves[1] if len(curves) > 1 else None)


def stairs(widths: Sequence[int], times: Sequence[float], flat: float = FLAT) -> tuple[int, ...]:
    """The widths at which time steps: of those on one flat stair, only the widest.

    Args:
        widths: Widths, falling; the first always stays.
        times: Time at each.
        flat: Share of the time below which a step is none.

    Returns:
        Widths, falling; time falls with them.
    """
    kept, lowest = [widths[0]], times[0]
    for width, time in zip(widths[1:], times[1:], strict=True):
        if time * (1 + flat) < lowest:
            kept.append(width)
            lowest = time
    return tuple(kept)


def without_bumps(
    widths: Sequence[int], times: Sequence[float], bump: float = BUMP
) -> tuple[int, ...]:
    """The widths whose time lies on, or below, the line between their neighbours.

    A layer's outputs may go in steps while the inputs of the next one don't: then every width is a
    little faster than a wider one, but those at the upper end of a step give more width for it.

    Args:
        widths: Widths, falling; the first and the last always stay.
        times: Time at each.
        bump: Share of the time by which a width may lie above the line.
    """
    kept = list(range(len(widths)))
    while len(kept) > 2:
        above = [
            times[b] / np.interp(widths[b], (widths[c], widths[a]), (times[c], times[a]))
            for a, b, c in zip(kept, kept[1:], kept[2:], strict=False)
        ]
        worst = int(np.argmax(above))
        if above[worst] <= 1 + bump:
            break
        del kept[worst + 1]
    return tuple(widths[i] for i in kept)
