"""Slices of an output whose range is far smaller than the output's: judged on their own.

A detector may give boxes in pixels and scores of at most 1 in one tensor. Over the whole tensor the
boxes decide, and all scores may be lost without a trace. So slices along any axis that have a range
of their own are compared with that range.

A slice is *not* compared with a range of its own where its smallness means nothing:

- all slices have one unit: those of one softmax, sigmoid, tanh or ReLU, and those among which an
  argmax chooses. A class that is never predicted has probabilities below what int8 can say, and
  that harms nothing;
- values from 0 to 1 are taken for probabilities, which share a unit wherever they stand;
- it is constant, or zero but for a few values, as those of a dead or nearly dead channel.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

# From here on an int8 step of the whole range nears what a slice's noise may be: of values that
# spread over a fifth of their range, the step's own error is 0.09 of the spread of such a slice.
APART = 16.0
_CONSTANT = 1e-6
_MOSTLY_ZERO = 0.9
_DATA_MOVING = frozenset(
    {"Reshape", "Flatten", "Dropout", "Cropping1D", "Cropping2D", "Permute", "Transpose"}
)
_ONE_UNIT = frozenset(
    {"softmax", "sigmoid", "hard_sigmoid", "tanh", "relu", "relu6", "leaky_relu", "leakyrelu"}
)


@dataclass(frozen=True)
class Slices:
    """Slices of an output that are judged together.

    Attributes:
        axis: Along which they lie; samples lie along axis 0.
        places: Their places on that axis, ascending.
        last: Whether it is the output's last axis.
    """

    axis: int
    places: tuple[int, ...]
    last: bool

    def __str__(self) -> str:
        """As people read it: `channels 4-6`."""
        word = "channel" if self.last else f"axis {self.axis} place" if self.axis else "sample"
        return f"{word}{'s' if len(self.places) > 1 else ''} {_runs(self.places)}"


def _runs(places: tuple[int, ...]) -> str:
    """Numbers with neighbours joined.

    >>> _runs((0, 4, 5, 6))
    '0, 4-6'
    """
    runs: list[list[int]] = []
    for place in places:
        if runs and place == runs[-1][-1] + 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    shown = [f"{r[0]}-{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in runs]
    return ", ".join(shown[:8]) + (", …" if len(shown) > 8 else "")


def spread(want: NDArray[Any]) -> float:
    """Standard deviation of values, at least a twentieth of the largest; 5e-9 where all are 0.

    Values that hardly vary would make any rounding look large.
    """
    largest = float(np.abs(want).max(initial=0)) or 1e-7
    return max(float(np.std(want)), 0.05 * largest)


def cut(values: NDArray[Any], slices: Slices) -> NDArray[Any]:
    """The values of some slices."""
    return np.take(values, slices.places, axis=slices.axis)


def merged(slices: Iterable[Slices]) -> tuple[str, ...]:
    """Slices of one axis as one text."""
    places: dict[tuple[int, bool], set[int]] = {}
    for part in slices:
        places.setdefault((part.axis, part.last), set()).update(part.places)
    return tuple(str(Slices(a, tuple(sorted(p)), last)) for (a, last), p in places.items())


def small_slices(want: NDArray[Any]) -> tuple[Slices, ...]:
    """Slices whose range is far smaller than that of the output, alike ones together.

    Args:
        want: What the source gives, (n, …), in floats.
    """
    if want.ndim < 2 or not np.isfinite(want).all():
        return ()
    whole = spread(want)
    found: list[Slices] = []
    for axis in range(1, want.ndim):
        if want.shape[axis] < 2:
            continue
        found += _along(want, axis, whole)
    return tuple(found)


def _along(want: NDArray[Any], axis: int, whole: float) -> list[Slices]:
    others = tuple(a for a in range(want.ndim) if a != axis)
    low, high = want.min(others), want.max(others)
    spreads = np.maximum(want.std(others), 0.05 * np.maximum(np.abs(low), np.abs(high)))
    lively = (high - low > _CONSTANT * whole) & (np.mean(want == 0, others) < _MOSTLY_ZERO)
    probable = (low >= 0) & (high <= 1 + 1e-6)
    joint = float(spreads[probable].max(initial=0))
    sizes = np.where(probable, joint, spreads)
    small = [int(i) for i in np.flatnonzero(lively & (sizes < whole / APART))]
    clusters: list[list[int]] = []
    for place in sorted(small, key=lambda i: -sizes[i]):
        if clusters and sizes[place] >= sizes[clusters[-1][0]] / APART:
            clusters[-1].append(place)
        else:
            clusters.append([place])
    last = axis == want.ndim - 1
    return [Slices(axis, tuple(sorted(c)), last) for c in clusters]


def shares_unit(tensor: keras.KerasTensor) -> bool:
    """Whether all values of a Keras tensor have passed one activation that gives them one unit.

    Args:
        tensor: An output of a Keras model; anything else has no known unit.
    """
    history = getattr(tensor, "_keras_history", None)
    for _ in range(8):
        if history is None:
            return False
        operation = history.operation
        activation = getattr(operation, "activation", None)
        name = getattr(activation, "__name__", type(operation).__name__).lower()
        if name in _ONE_UNIT:
            return True
        nested = getattr(operation, "outputs", None)
        if nested and hasattr(operation, "layers"):
            history = getattr(nested[0], "_keras_history", None)
        elif type(operation).__name__ in _DATA_MOVING:
            given = operation._inbound_nodes[0].input_tensors[0]
            history = getattr(given, "_keras_history", None)
        else:
            return False
    return False
