"""Which arrays of a model can hold zeros: the kernels, found on the layers themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from jaxtyping import Float

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.registry import near_names
from edgepress.compress.specs.pruning_result import Pinned
from edgepress.compress.variables import seen
from edgepress.compress.weights.masks import layouts
from edgepress.compress.weights.masks.layouts import Layout

if TYPE_CHECKING:
    import tensorflow as tf

layers = keras.layers


@dataclass(frozen=True)
class KernelRule:
    """Where a layer class keeps a kernel, and how its axes are to be read.

    Attributes:
        attribute: Attribute path on the layer.
        layout: From the layer and the kernel's rank to the layout.
        depthwise: Whether it is a depthwise kernel, pruned only on demand.
    """

    attribute: str
    layout: Callable[[Any, int], Layout]
    depthwise: bool = False


def _of_rank(function: Callable[[int], Layout]) -> Callable[[keras.Layer, int], Layout]:
    return lambda _layer, rank: function(rank)


_DENSE = (KernelRule("kernel", _of_rank(layouts.dense)),)
_EINSUM = (KernelRule("kernel", lambda layer, _rank: layouts.einsum(layer.equation)),)
_CONV = (KernelRule("kernel", _of_rank(layouts.convolution)),)
_CONV_TRANSPOSE = (KernelRule("kernel", _of_rank(layouts.transposed_convolution)),)
_DEPTHWISE = (KernelRule("kernel", _of_rank(layouts.depthwise), depthwise=True),)
_SEPARABLE = (
    KernelRule("depthwise_kernel", _of_rank(layouts.depthwise), depthwise=True),
    KernelRule("pointwise_kernel", _of_rank(layouts.convolution)),
)
_RECURRENT = (
    KernelRule("kernel", _of_rank(layouts.dense)),
    KernelRule("recurrent_kernel", _of_rank(layouts.dense)),
)
_CONV_RECURRENT = (
    KernelRule("cell.kernel", _of_rank(layouts.convolution)),
    KernelRule("cell.recurrent_kernel", _of_rank(layouts.convolution)),
)

# Layers that hold other layers (MultiHeadAttention, Bidirectional, TimeDistributed, recurrent
# layers and their cells, nested models, layers of the user's) need no line: they are walked.
KERNELS: dict[type, tuple[KernelRule, ...]] = {
    layers.Dense: _DENSE,
    layers.EinsumDense: _EINSUM,
    layers.Conv1D: _CONV,
    layers.Conv2D: _CONV,
    layers.Conv3D: _CONV,
    layers.Conv1DTranspose: _CONV_TRANSPOSE,
    layers.Conv2DTranspose: _CONV_TRANSPOSE,
    layers.Conv3DTranspose: _CONV_TRANSPOSE,
    layers.DepthwiseConv1D: _DEPTHWISE,
    layers.DepthwiseConv2D: _DEPTHWISE,
    layers.SeparableConv1D: _SEPARABLE,
    layers.SeparableConv2D: _SEPARABLE,
    layers.SimpleRNNCell: _RECURRENT,
    layers.GRUCell: _RECURRENT,
    layers.LSTMCell: _RECURRENT,
    layers.ConvLSTM1D: _CONV_RECURRENT,
    layers.ConvLSTM2D: _CONV_RECURRENT,
    layers.ConvLSTM3D: _CONV_RECURRENT,
    layers.Embedding: (KernelRule("embeddings", _of_rank(layouts.embedding)),),
}


@dataclass(frozen=True)
class PrunableWeight:
    """One kernel of a model.

    Attributes:
        path: Path of its layer, then the attribute: `encoder/conv1/kernel`.
        layer_path: Path of its layer, nested models and wrappers outermost.
        layer: The layer.
        variable: The Keras variable.
        layout: How its axes are read.
    """

    path: str
    layer_path: str
    layer: Any
    variable: Any
    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the kernel."""
        return tuple(self.variable.shape)

    @property
    def size(self) -> int:
        """Number of weights."""
        return int(np.prod(self.shape))

    def value(self) -> Float[np.ndarray, "..."]:
        """The weights, copied."""
        return np.array(self.seen())

    def seen(self) -> Float[np.ndarray, "..."]:
        """The weights for looking at, not for writing to: those in float32 aren't copied."""
        return seen(self.variable).astype(np.float32, copy=False)

    def planes(self) -> Float[np.ndarray, "s i o"]:
        """The weights as planes (S, I, O)."""
        return self.layout.planes(self.value())


def find_kernels(
    model: keras.Model, protect: Sequence[str] = (), depthwise: bool = False
) -> tuple[tuple[PrunableWeight, ...], tuple[Pinned, ...]]:
    """The kernels of a model that may be pruned, and what stays.

    Vectors (biases, normalisation) always stay and aren't listed. A kernel that several layers
    share is found once.

    Args:
        model: A built Keras model.
        protect: Layers that stay: names, paths or globs; a nested model's stands for all in it.
        depthwise: Whether depthwise kernels may be pruned.

    Returns:
        (kernels in the order of the layers, pinned arrays with reasons).

    Raises:
        InputError: An entry of `protect` matches no layer.
    """
    walked = list(walk_layers(model))
    check_globs("protect", protect, [path for path, _ in walked])
    found: list[PrunableWeight] = []
    pinned: list[Pinned] = []
    seen: set[int] = set()
    for path, layer in walked:
        for rule in rules_of(layer):
            variable = attrgetter(rule.attribute)(layer)
            if id(variable) in seen:
                continue
            seen.add(id(variable))
            weight_path = f"{path}/{rule.attribute.replace('.', '/')}"
            reason = _why_pinned(variable, rule, path, protect, depthwise)
            if reason:
                pinned.append(Pinned(weight_path, reason))
                continue
            layout = rule.layout(layer, len(variable.shape))
            found.append(PrunableWeight(weight_path, path, layer, variable, layout))
    return tuple(found), (*pinned, *_unknown_arrays(walked, seen))


def rules_of(layer: keras.Layer) -> tuple[KernelRule, ...]:
    """The kernels of a layer's class, or of the nearest class that it inherits from."""
    return next((KERNELS[c] for c in type(layer).__mro__ if c in KERNELS), ())


def walk_layers(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.Layer]]:
    """Every layer of a model once, with its path, those inside other layers after them."""
    seen: set[int] = set()

    def visit(holder: keras.Layer, prefix: str) -> Iterator[tuple[str, keras.Layer]]:
        for layer in _children(holder):
            if id(layer) not in seen:
                seen.add(id(layer))
                path = prefix + layer.name
                yield path, layer
                yield from visit(layer, f"{path}/")

    yield from visit(model, prefix)


def _children(holder: keras.Layer) -> list[keras.Layer]:
    if isinstance(holder, keras.Model):
        return list(holder.layers)
    return list(holder._flatten_layers(include_self=False, recursive=False))


def matches(path: str, globs: Sequence[str]) -> bool:
    """Whether a layer's path, or that of something it lies in, matches one of the globs."""
    parts = path.split("/")
    ancestry = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    return any(fnmatchcase(p, glob) for p in ancestry for glob in globs)


def check_globs(option: str, globs: Sequence[str], paths: Sequence[str]) -> None:
    """Refuse a glob that matches no layer.

    Raises:
        InputError: With the near names.
    """
    for glob in globs:
        if not any(matches(path, [glob]) for path in paths):
            raise InputError(f"{option} '{glob}' matches no layer", near_names(glob, paths))


def _why_pinned(
    variable: keras.Variable | tf.Tensor,
    rule: KernelRule,
    path: str,
    protect: Sequence[str],
    depthwise: bool,
) -> str:
    if matches(path, protect):
        return "protected"
    if not isinstance(variable, keras.Variable) or "float" not in str(variable.dtype):
        return "not a plain float kernel (quantised or with low-rank adapters)"
    if rule.depthwise and not depthwise:
        return "depthwise kernel: few weights, each channel's only filter"
    return ""


def _unknown_arrays(walked: Sequence[tuple[str, keras.Layer]], seen: set[int]) -> Iterator[Pinned]:
    """Trainable matrices of layers that no rule knows."""
    for path, layer in walked:
        own = [*layer._trainable_variables]
        for variable in own:
            if id(variable) not in seen and len(variable.shape) > 1 and _is_matrix(variable):
                seen.add(id(variable))
                yield Pinned(
                    f"{path}/{variable.name}", f"no rule for a {type(layer).__name__}'s arrays"
                )


def _is_matrix(variable: keras.Variable) -> bool:
    """Whether more than one axis is longer than 1 (a GRU's bias has two rows, PReLU's one)."""
    return variable.name != "bias" and sum(n > 1 for n in variable.shape) > 1
