"""Keras operations as file formats know them, for the time of tracing.

They are replaced where Keras looks them up, for the thread that traces alone, and not in the model
or the traced graph: a layer of the user's own calls them from its Python, where no rebuilt model
reaches, and the graph holds them in pieces that don't say what they were (docs/architecture.md has
the whole reason). Layers are named as Keras publishes them; functions have the places of the
releases of Keras that pyproject.toml allows, and the tests run with the oldest and newest.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal
from unittest import mock

from edgepress.deploy.lowerings.activations import (
    elu,
    hard_silu,
    log_sigmoid,
    log_sum_exp,
    prelu,
    selu,
    softmax,
    softplus,
)
from edgepress.deploy.lowerings.convolutions import (
    convolution,
    depthwise_convolution,
    separable_convolution,
    transposed_convolution,
)
from edgepress.deploy.lowerings.float_types import single_type
from edgepress.deploy.lowerings.graph_passes import CHANGED_FOR_INTEGERS
from edgepress.deploy.lowerings.normalizations import (
    group_normalization,
    layer_normalization,
    mean_and_variance,
    normalize,
    square,
    sum_as_mean,
)
from edgepress.deploy.lowerings.recurrent import as_one_operator, without_dropout_masks
from edgepress.deploy.lowerings.repetition import repeat, tile, up_sampling
from edgepress.deploy.lowerings.resizing import resize
from edgepress.deploy.lowerings.time_distributed import steps_as_samples
from edgepress.deploy.lowerings.volumes import pooling, volume_convolution

if TYPE_CHECKING:
    import tensorflow as tf

# Whom a graph is written for: float kernels, 8-bit kernels, 16-bit activations, or ONNX (from which
# its integer files are made as well).
Destination = Literal["float", "int8", "int16", "onnx"]
INTEGERS = frozenset[Destination]({"int8", "int16"})
_SIXTEEN_BITS = frozenset[Destination]({"int16"})
_ONNX = frozenset[Destination]({"onnx"})
_TFLITE = frozenset[Destination]({"float", "int8", "int16"})
_ALL = _TFLITE | _ONNX


@dataclass(frozen=True)
class Lowering:
    """One of Keras's operations, and what replaces it.

    Attributes:
        owner: Module that Keras looks it up in, or class whose method it is.
        name: Its name there.
        plain: Takes Keras's own function, then its arguments.
        destinations: Whom it is for.
        shown_by: TensorFlow operations in a graph that show that Keras's own form is in it.
    """

    owner: str
    name: str
    plain: Callable[..., Any]
    destinations: frozenset[Destination]
    shown_by: frozenset[str]


# A process has one Keras for all its threads: one of them traces at a time.
_TRACING = threading.RLock()


@contextmanager
def lowered_operations(destination: Destination = "float") -> Iterator[None]:
    """Trace some of Keras's operations as a file's kernels know them.

    Other threads keep Keras's own, and wait where they want to trace for a file too.

    Args:
        destination: Whom the graph is for; see `LOWERINGS`.
    """
    with _TRACING, ExitStack() as stack:
        for lowering in LOWERINGS:
            if destination in lowering.destinations:
                owner = _found(lowering.owner)
                plain = _bound(lowering.plain, getattr(owner, lowering.name))
                stack.enter_context(mock.patch.object(owner, lowering.name, plain))
        yield


def lowers_differently(operations: Iterable[str], destination: Destination) -> bool:
    """Whether a graph of these operations would be another one for integers.

    Args:
        operations: Types of TensorFlow operations in the graph for floats.
        destination: Whom the other graph would be for.
    """
    present = set(operations)
    integers = (
        w for w in LOWERINGS if destination in w.destinations and "float" not in w.destinations
    )
    changed = destination in INTEGERS and not present.isdisjoint(CHANGED_FOR_INTEGERS)
    return changed or any(not present.isdisjoint(lowering.shown_by) for lowering in integers)


def _found(path: str) -> ModuleType | type:
    """A module, or a class in a module."""
    parent, _, name = path.rpartition(".")
    return getattr(importlib.import_module(parent), name)


def _bound(plain: Callable[..., Any], own: Callable[..., Any]) -> Callable[..., Any]:
    """A function, so that it also stands as a method, of what the operation is called with."""
    tracing = threading.get_ident()

    def said(*arguments: Any, **options: Any) -> Any:
        if threading.get_ident() != tracing:
            return own(*arguments, **options)
        return plain(own, *arguments, **options)

    return said


def _index(
    name: str,
    _own: Callable[..., Any],
    x: tf.Tensor,
    axis: int | None = None,
    keepdims: bool = False,
) -> tf.Tensor:
    """`argmax` and `argmin` as the one operator that they are.

    Keras tells -0.0 from 0.0 in them by the bits of a float, which neither TFLite nor ONNX has an
    operator for. Only where the largest (smallest) numbers are zeros of both signs does the plain
    operator give another index.
    """
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    rank = len(x.shape)
    flat = tf.reshape(x, [-1]) if axis is None else x
    found = getattr(tf, name)(flat, axis=axis or 0, output_type=tf.int32)
    if not keepdims:
        return found
    return tf.reshape(found, [1] * rank) if axis is None else tf.expand_dims(found, axis)


_BACKEND = "keras.src.backend"
_LOOPS = frozenset({"StatelessWhile", "TensorListReserve", "While"})
_MOMENTS = frozenset({"SquaredDifference"})
_TRANSPOSED = frozenset({"Conv2DBackpropInput", "Conv3DBackpropInputV2"})

LOWERINGS: tuple[Lowering, ...] = (
    *(
        Lowering(owner, "result_type", single_type, _ALL, frozenset())
        for owner in (_BACKEND, f"{_BACKEND}.common.dtypes")
    ),
    *(
        Lowering(f"{_BACKEND}.numpy", n, partial(_index, n), _ALL, frozenset())
        for n in ("argmax", "argmin")
    ),
    Lowering(f"{_BACKEND}.numpy", "repeat", repeat, _ALL, frozenset()),
    Lowering(f"{_BACKEND}.numpy", "tile", tile, _ALL, frozenset()),
    Lowering(
        "keras.layers.UpSampling2D", "_resize_images",
        up_sampling, _ALL, frozenset(),
    ),
    Lowering("tensorflow.image", "resize", resize, _ALL, frozenset()),
    Lowering(
        "keras.layers.RNN", "_maybe_config_dropout_masks",
        without_dropout_masks, _ALL, frozenset(),
    ),
    *(
        Lowering(
            "keras.src.layers.rnn.dropout_rnn_cell.DropoutRNNCell", name,
            without_dropout_masks, _ALL, frozenset(),
        )
        for name in ("get_dropout_mask", "get_recurrent_dropout_mask")
    ),
    Lowering(
        "keras.layers.TimeDistributed", "call",
        steps_as_samples, _ALL, frozenset(),
    ),
    *(
        Lowering(owner, "inner_loop", as_one_operator, _ONNX, _LOOPS)
        for owner in ("keras.layers.GRU", "keras.layers.RNN")
    ),
    Lowering(f"{_BACKEND}.nn", "conv", convolution, _ALL, frozenset()),
    Lowering(f"{_BACKEND}.nn", "conv", volume_convolution, _TFLITE, frozenset()),
    *(
        Lowering(f"{_BACKEND}.nn", name, pooling, _TFLITE, frozenset())
        for name in ("max_pool", "average_pool")
    ),
    Lowering(f"{_BACKEND}.nn", "depthwise_conv", depthwise_convolution, _ALL, frozenset()),
    Lowering(f"{_BACKEND}.nn", "separable_conv", separable_convolution, _ALL, frozenset()),
    Lowering(f"{_BACKEND}.nn", "conv_transpose", transposed_convolution, _ONNX, _TRANSPOSED),
    Lowering("keras.src.ops.nn", "_layer_normalization", layer_normalization, INTEGERS, _MOMENTS),
    Lowering(
        "keras.layers.GroupNormalization", "_apply_normalization",
        group_normalization, INTEGERS, _MOMENTS,
    ),
    Lowering(f"{_BACKEND}.nn", "moments", mean_and_variance, _SIXTEEN_BITS, _MOMENTS),
    Lowering(f"{_BACKEND}.numpy", "sum", sum_as_mean, INTEGERS, frozenset({"Sum"})),
    Lowering(f"{_BACKEND}.numpy", "square", square, _SIXTEEN_BITS, frozenset({"Square"})),
    Lowering("keras.src.ops.nn", "_normalize", normalize, _SIXTEEN_BITS, frozenset({"Square"})),
    Lowering(f"{_BACKEND}.nn", "hard_silu", hard_silu, _SIXTEEN_BITS, frozenset({"Relu6"})),
    Lowering(f"{_BACKEND}.nn", "elu", elu, _SIXTEEN_BITS, frozenset({"Elu"})),
    Lowering(f"{_BACKEND}.nn", "softplus", softplus, _TFLITE, frozenset()),
    Lowering(f"{_BACKEND}.nn", "log_sigmoid", log_sigmoid, _TFLITE, frozenset()),
    Lowering("keras.layers.Softmax", "call", softmax, _ALL, frozenset()),
    Lowering(f"{_BACKEND}.math", "logsumexp", log_sum_exp, _ONNX, frozenset()),
    Lowering(f"{_BACKEND}.nn", "selu", selu, INTEGERS, frozenset({"Selu"})),
    Lowering(
        "keras.layers.PReLU", "call", prelu, _SIXTEEN_BITS, frozenset({"Neg"})
    ),
)  # fmt: skip
