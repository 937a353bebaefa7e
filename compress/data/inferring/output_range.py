"""Which values an output can take, found by trying what makes it on very small and large values.

A table of activations would know neither those of a user's own nor what comes behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import Node, Tensor

Array = NDArray[Any]

# What is tried: all between, and twice what is far out. What still grows from one to the other has
# no end.
_NEAR = np.linspace(-4.0, 4.0, 33)
_FAR = (1e4, 1e8)
_GROWTH = 1.01
_EPSILON = 1e-3
# How many operations behind the last activation are looked through.
_DEPTH = 12
_ROWS = 64
# Samples at once: many of a small tensor, few of a large one. All but the last hold the same vector
# at every place, for a mean of random values is never an extreme one.
_FEWEST, _MOST, _ELEMENTS = 3, 96, 2_000_000
_MOST_ROWS = 100_000
_OPEN_SIZE = 8


@dataclass(frozen=True)
class Reach:
    """The values that an output can take.

    Attributes:
        low: The lowest; minus infinity where there is no end.
        high: The highest; infinity where there is no end.
        by: The name of the activation that bounds it, as far as it has one.
        squashing: "softmax" where values along the last axis sum to 1, "sigmoid" where each is a
            probability by itself, else empty.
    """

    low: float = -inf
    high: float = inf
    by: str = ""
    squashing: str = ""

    @property
    def bounded(self) -> bool:
        """Whether there is an end on both sides."""
        return isfinite(self.low) and isfinite(self.high)


def reach_of(tensor: keras.KerasTensor) -> Reach:
    """The reach of an output of a Keras model, everything where it can't be told."""
    trials = [_tried(tensor, far) for far in _FAR]
    rows = [trial[np.isfinite(trial).all(-1)] for trial in trials if trial is not None]
    if len(rows) < len(_FAR) or min(map(len, rows)) < _FEWEST:
        return Reach()
    (low, high), (lower, higher) = ((float(r.min()), float(r.max())) for r in rows)
    squashing = _squashing(rows[1])
    if any(np.isnan(trial).any() for trial in trials if trial is not None):
        return Reach(by=_name(tensor), squashing=squashing if squashing == "softmax" else "")
    endless = [trial[~np.isnan(trial)] for trial in trials if trial is not None]
    falls = lower < low - _EPSILON - (_GROWTH - 1) * abs(low) or endless[1].min() == -inf
    grows = higher > high + _EPSILON + (_GROWTH - 1) * abs(high) or endless[1].max() == inf
    return Reach(
        -inf if falls else lower,
        inf if grows else higher,
        _name(tensor),
        "" if falls or grows else squashing,
    )


def _squashing(rows: Array) -> str:
    if rows.min() < -_EPSILON or rows.max() > 1 + _EPSILON:
        return ""
    if rows.shape[-1] > 1 and np.allclose(rows.sum(-1), 1, atol=_EPSILON):
        return "softmax"
    return "sigmoid"


def _tried(tensor: keras.KerasTensor, far: float) -> Array | None:
    """(rows, channels) of vectors that an output can hold; None where it can be anything."""
    operation = tensor._keras_history.operation
    activation = _activation(operation)
    if activation is not None and _builtin(operation) and _title(activation) != "linear":
        return _applied(activation, tensor, far)
    size = int(np.prod([n or _OPEN_SIZE for n in tensor.shape[1:]]))
    trial = _Trial(far, int(np.clip(_ELEMENTS // max(size, 1), _FEWEST, _MOST)), {})
    values = trial.values(tensor, _DEPTH)
    if values is None:
        return None
    rows = values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
    return rows[:: max(1, len(rows) // _MOST_ROWS)]


@dataclass
class _Trial:
    """One evaluation of the end of a model, on made-up values.

    Attributes:
        far: The largest value that is tried.
        count: Samples.
        known: (samples, …) by tensor, for what several operations read.
    """

    far: float
    count: int
    known: dict[int, Array | None]

    def values(self, tensor: keras.KerasTensor, depth: int) -> Array | None:
        """(samples, …) that a tensor can hold, None where it can be anything."""
        if id(tensor) not in self.known:
            self.known[id(tensor)] = self._made(tensor, depth)
        return self.known[id(tensor)]

    def _made(self, tensor: keras.KerasTensor, depth: int) -> Array | None:
        operation, node, place = tensor._keras_history
        if depth == 0 or not operation._inbound_nodes:
            return None
        if hasattr(operation, "layers") and getattr(operation, "outputs", None):
            return self.values(operation.outputs[place], depth - 1)
        own = not _builtin(operation)
        activation, weights = _activation(operation), getattr(operation, "weights", None)
        if activation is not None and not own:
            if _title(activation) != "linear":
                return self._activated(activation, tensor)
            if type(operation).__name__ == "Activation":
                return self.values(operation._inbound_nodes[node].input_tensors[0], depth - 1)
        if weights and not own:
            return None
        try:
            made = self._called(operation, operation._inbound_nodes[node], place, depth)
        except Exception:  # as in `_applied`
            return None if activation is None else self._activated(activation, tensor)
        if weights and not (made.min() < 0.1 and made.max() > 0.9):
            return None  # weights near zero let anything look bounded
        return made

    def _activated(
        self, activation: Callable[[Tensor], Tensor], tensor: keras.KerasTensor
    ) -> Array | None:
        """Values behind an activation."""
        rows = _applied(activation, tensor, self.far)
        return None if rows is None else self._spread(rows, tensor)

    def _called(self, operation: keras.Operation, node: Node, place: int, depth: int) -> Array:
        """What an operation makes of what its inputs can hold."""
        import keras

        given = {}
        for tensor in node.input_tensors:
            values = self.values(tensor, depth - 1)
            if values is None:
                values = self._spread(_vectors(tensor, self.far), tensor)
                self.known[id(tensor)] = values
            given[id(tensor)] = keras.ops.convert_to_tensor(values, str(tensor.dtype))
        args, kwargs = node.arguments.fill_in(given)
        made = keras.tree.flatten(operation(*args, **kwargs))[place]
        return np.asarray(keras.ops.convert_to_numpy(made), np.float64)

    def _spread(self, rows: Array, tensor: keras.KerasTensor) -> Array:
        """(samples, …) of a tensor's shape, of vectors at each place, the extreme ones first."""
        ends = [p for c in range(min(3, rows.shape[1])) for p in _ends(rows[:, c])]
        rows = np.concatenate([rows[list(dict.fromkeys(ends))], rows])
        shape = [size or _OPEN_SIZE for size in tensor.shape[1:]]
        places = int(np.prod(shape[:-1])) if shape else 1
        random = np.random.default_rng((len(self.known), places))
        chosen = random.integers(0, len(rows), (self.count, places))
        # Two tensors side by side would be low and high together if each had the same order.
        even = np.arange(self.count - 1) % len(rows)
        if self.count > len(rows) // 2:
            even[4:] = random.permutation(even[4:])
        chosen[:-1] = even[:, None]
        spread: Array = rows[chosen].reshape(self.count, *shape)
        return spread


def _builtin(operation: keras.Operation) -> bool:
    return type(operation).__module__.startswith("keras.")


def _applied(
    activation: Callable[[Tensor], Tensor], tensor: keras.KerasTensor, far: float
) -> Array | None:
    """(rows, channels) behind an activation, which is tried on single vectors."""
    import keras

    try:
        rows = activation(keras.ops.convert_to_tensor(_vectors(tensor, far)))
    except Exception:  # whatever code of the user's own raises on values that aren't its data
        return None
    return np.asarray(keras.ops.convert_to_numpy(rows))


def _ends(column: Array) -> tuple[int, int]:
    return int(column.argmin()), int(column.argmax())


def _activation(operation: keras.Operation) -> Callable[[Tensor], Tensor] | None:
    """The function that a layer, or the layer that it wraps, applies at its end."""
    found = getattr(getattr(operation, "layer", operation), "activation", None)
    return found if callable(found) else None


def _vectors(tensor: keras.KerasTensor, far: float) -> Array:
    """(rows, channels) of values from one end to the other."""
    channels = (tensor.shape[-1] or _OPEN_SIZE) if len(tensor.shape) > 1 else 1
    random = np.random.default_rng(0)
    values = np.array([-far, far, *_NEAR])
    even = np.repeat(values[:, None], channels, axis=1)
    alone = np.where(np.eye(channels)[:_ROWS] > 0, far, -far)
    mixed = random.choice(values, (_ROWS, channels))
    return np.concatenate([even, alone, mixed]).astype(np.float32)


def _name(tensor: keras.KerasTensor) -> str:
    """The name of what bounds an output, for messages."""
    operation, _, place = tensor._keras_history
    for _ in range(_DEPTH):
        if hasattr(operation, "layers") and getattr(operation, "outputs", None):
            operation, _, place = operation.outputs[place]._keras_history
            continue
        activation = _activation(operation)
        if activation is not None and _title(activation) != "linear":
            return _title(activation)
        if type(operation).__name__ in _NAMED or not operation._inbound_nodes:
            break
        inputs = operation._inbound_nodes[0].input_tensors
        if len(inputs) != 1 or getattr(operation, "weights", None):
            break
        before, _, before_place = inputs[0]._keras_history
        if getattr(before, "weights", None) and _title(_activation(before)) == "linear":
            break
        operation, place = before, before_place
    return type(operation).__name__.lower()


_NAMED = ("Softmax", "Sigmoid", "HardSigmoid", "Tanh", "ReLU", "Relu", "Relu6", "Lambda", "Clip")


def _title(function: Callable[[Tensor], Tensor] | None) -> str:
    return str(getattr(function, "__name__", type(function).__name__)).lower()
