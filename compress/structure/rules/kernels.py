"""Layers that make channels from channels: dense, convolutions of all kinds, embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.errors import InputError
from edgepress.compress.structure.channels.ids import Ids, IntVector, Shape
from edgepress.compress.structure.channels.site import Site
from edgepress.compress.structure.rules.activations import mixes
from edgepress.compress.structure.rules.rule import Rule, Sizes

if TYPE_CHECKING:
    import keras


def made(site: Site, layer: keras.Layer, ids: IntVector, axis: int) -> Ids:
    """The output of a kernel, its channels pinned where the activation mixes them."""
    if mixes(layer):
        site.pin(ids, "{} ends in an activation over all its channels")
    if axis == 1 and _misreads_bias(layer, len(ids), site.shapes[0]):
        site.pin(ids, "{} is as wide as it has channels: Keras adds its bias along the width")
    return site.placed(ids, axis)


def _misreads_bias(layer: keras.Layer, channels: int, output: Shape) -> bool:
    """Whether Keras adds the bias of a convolution with the channels first along the last axis.

    `keras.ops.add` looks for a bias' length at the last axis first. Classes that fix this have a
    `call` of their own.
    """
    plain = type(layer).__module__.startswith("keras.")
    return plain and layer.bias is not None and len(output) > 2 and output[-1] == channels > 1


def channel_axis(layer: keras.Layer) -> int:
    """Where a convolution-like layer's channels lie: 1 or -1."""
    return 1 if getattr(layer, "data_format", "") == "channels_first" else -1


def has_lora(layer: keras.Layer) -> bool:
    """Whether low-rank adapters or quantisation hide the kernel."""
    return bool(getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None))


def refuse_hidden(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids | None:
    """Pin what meets a layer whose kernel isn't a plain array; None for a plain one."""
    if not has_lora(layer):
        return None
    reason = "{} carries adapters or a quantised kernel"
    for ids in inputs:
        site.pin(ids, reason)
    return site.pinned(reason.replace("{}", f"'{site.path}'"))


def trace_dense(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """Rows of the kernel are the incoming channels, columns the outgoing ones."""
    hidden = refuse_hidden(layer, inputs, site)
    if hidden is not None:
        return hidden
    site.uses(layer.kernel, 0, site.along(inputs[0], -1))
    ids = site.fresh(layer.kernel, 1)
    site.makes(layer.kernel, 1, ids)
    site.makes(layer.bias, 0, ids)
    return made(site, layer, ids, -1)


def resize_dense(layer: keras.Layer, config: dict[str, Any], sizes: Sizes) -> None:
    """`units`."""
    config["units"] = sizes.weight(layer.kernel)[1]


def trace_convolution(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """As dense, at every place; groups stay equal, or are single channels that pass."""
    hidden = refuse_hidden(layer, inputs, site)
    if hidden is not None:
        return hidden
    axis = channel_axis(layer)
    given = site.along(inputs[0], axis)
    if layer.groups == 1:
        site.uses(layer.kernel, -2, given)
        ids = site.fresh(layer.kernel, -1)
    elif layer.groups == len(given):
        ids = np.repeat(given, layer.filters // layer.groups)
    else:
        site.uses(layer.kernel, -2, _tied(site, given, layer.groups))
        ids = site.fresh(layer.kernel, -1)
        _tied(site, ids, layer.groups)
    role = site.carries if layer.groups == len(given) > 1 else site.makes
    role(layer.kernel, -1, ids)
    role(layer.bias, 0, ids)
    return made(site, layer, ids, axis)


def _refuse_misread(layer: keras.Layer, sizes: Sizes) -> None:
    """Refuse a width at which Keras would begin to add the bias along another axis."""
    if channel_axis(layer) != 1 or layer.bias is None:
        return
    output, (channels,) = sizes.output(), sizes.weight(layer.bias)
    if channels < layer.bias.shape[0] and _misreads_bias(layer, channels, output):
        raise InputError(
            f"'{layer.name}' would be left with {channels} channels that are {output[-1]} wide,"
            " where Keras adds its bias along the width",
            "ask for a little more or less, or protect the layer",
        )


def _tied(site: Site, ids: IntVector, groups: int) -> IntVector:
    """Unite the channels at matching positions of each group."""
    return site.trace.classes.unite_across(ids.reshape(groups, -1), 1)


def resize_convolution(layer: keras.Layer, config: dict[str, Any], sizes: Sizes) -> None:
    """`filters`, and `groups` where each group is one channel."""
    config["filters"] = sizes.weight(layer.kernel)[-1]
    _refuse_misread(layer, sizes)
    if layer.groups > 1 and layer.kernel.shape[-2] == 1:
        config["groups"] = sizes.input()[channel_axis(layer)]


def trace_transposed(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """A convolution whose kernel has its output axis before its input axis."""
    axis = channel_axis(layer)
    site.uses(layer.kernel, -1, site.along(inputs[0], axis))
    ids = site.fresh(layer.kernel, -2)
    site.makes(layer.kernel, -2, ids)
    site.makes(layer.bias, 0, ids)
    return made(site, layer, ids, axis)


def resize_transposed(layer: keras.Layer, config: dict[str, Any], sizes: Sizes) -> None:
    """`filters`."""
    config["filters"] = sizes.weight(layer.kernel)[-2]
    _refuse_misread(layer, sizes)


def trace_depthwise(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """Channels pass, each as many times as the depth multiplier says."""
    axis = channel_axis(layer)
    given = site.along(inputs[0], axis)
    if len(given) == 1:
        # One channel in: the multiplier is a number of filters like any other.
        ids = site.fresh(layer.kernel, -1)
        site.makes(layer.kernel, -1, ids)
        site.makes(layer.bias, 0, ids)
        return made(site, layer, ids, axis)
    site.carries(layer.kernel, -2, given)
    ids = np.repeat(given, layer.depth_multiplier)
    site.carries(layer.bias, 0, ids)
    return made(site, layer, ids, axis)


def resize_depthwise(layer: keras.Layer, config: dict[str, Any], sizes: Sizes) -> None:
    """`depth_multiplier`."""
    config["depth_multiplier"] = sizes.weight(layer.kernel)[-1]
    _refuse_misread(layer, sizes)


def trace_separable(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """A depthwise convolution, then a 1x1 convolution that uses what it makes."""
    axis = channel_axis(layer)
    given = site.along(inputs[0], axis)
    if len(given) == 1:
        middle = site.fresh(layer.depthwise_kernel, -1)
        site.makes(layer.depthwise_kernel, -1, middle)
    else:
        site.carries(layer.depthwise_kernel, -2, given)
        middle = np.repeat(given, layer.depth_multiplier)
    site.uses(layer.pointwise_kernel, -2, middle)
    ids = site.fresh(layer.pointwise_kernel, -1)
    site.makes(layer.pointwise_kernel, -1, ids)
    site.makes(layer.bias, 0, ids)
    return made(site, layer, ids, axis)


def resize_separable(layer: keras.Layer, config: dict[str, Any], sizes: Sizes) -> None:
    """`filters` and `depth_multiplier`."""
    config["filters"] = sizes.weight(layer.pointwise_kernel)[-1]
    config["depth_multiplier"] = sizes.weight(layer.depthwise_kernel)[-1]
    _refuse_misread(layer, sizes)


def trace_embedding(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """The table's columns are channels; its rows belong to the vocabulary and stay."""
    hidden = refuse_hidden(layer, inputs, site)
    if hidden is not None:
        return hidden
    ids = site.fresh(layer.embeddings, 1)
    site.makes(layer.embeddings, 1, ids)
    return site.placed(ids, -1)


def trace_reversible(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """An embedding whose table, or one of its own, also leads back to the vocabulary."""
    arguments = site.node.arguments
    backwards = arguments.kwargs.get("reverse", next(iter(arguments.args[1:2]), False))
    if not backwards or has_lora(layer):
        return trace_embedding(layer, inputs, site)
    given = site.along(inputs[0], -1)
    if layer.tie_weights:
        site.uses(layer.embeddings, 1, given)
    else:
        site.uses(layer.reverse_embeddings, 0, given)
    return site.pinned(f"'{site.path}' gives a score for each word")


def resize_embedding(layer: keras.Layer, config: dict[str, Any], sizes: Sizes) -> None:
    """`output_dim`."""
    config["output_dim"] = sizes.weight(layer.embeddings)[1]


def trace_einsum_dense(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Ids:
    """Letters of the kernel: summed over (used), new in the output (made), or passing."""
    hidden = refuse_hidden(layer, inputs, site)
    if hidden is not None:
        return hidden
    given, kernel, result = _letters(layer.equation)
    summed = [c for c in kernel if c in given and c not in result]
    if summed:
        letter = _longest(inputs[0], given, summed)
        ids = site.along(inputs[0], _place(given, letter))
        site.uses(layer.kernel, kernel.index(letter), ids)
    passing = [c for c in kernel if c in given and c in result]
    if passing:
        site.pin(inputs[0], "{} has a kernel of its own for each of these channels")
    new = [c for c in kernel if c not in given]
    if not new:
        return site.pinned(f"'{site.path}' makes no channels of its own")
    letter = new[-1]
    place = kernel.index(letter)
    ids = site.fresh(layer.kernel, place)
    site.makes(layer.kernel, place, ids)
    if layer.bias is not None and letter in (layer.bias_axes or ""):
        axes = [c for c in result if c in layer.bias_axes]
        site.makes(layer.bias, axes.index(letter) - len(axes), ids)
    return made(site, layer, ids, _place(result, letter))


def _longest(ids: Ids, given: str, letters: list[str]) -> str:
    """Of the letters that are summed over, the one along which the most channels lie."""
    return max(letters, key=lambda c: (ids.array.shape[_place(given, c)], given.index(c)))


def _letters(equation: str) -> tuple[str, str, str]:
    left, result = equation.replace(" ", "").split("->")
    given, kernel = left.split(",")
    return given, kernel, result


def _place(letters: str, letter: str) -> int:
    """Axis of a letter, from the end, so that an ellipsis at the front doesn't matter."""
    return letters.replace("...", "").index(letter) - len(letters.replace("...", ""))


def refuse_misread_bias(layer: keras.Layer, bias: Sequence[int], output: Shape) -> None:
    """Refuse a bias of several axes that Keras would add along another axis.

    `keras.ops.add` takes a bias with one axis longer than 1 for a vector; where that axis isn't the
    last one and has the length of the output's axis 1, it is added along axis 1.
    """
    long = [n for n in bias if n > 1]
    if len(bias) > 1 and bias[-1] == 1 and len(long) == 1 and long[0] == output[1]:
        raise InputError(
            f"'{layer.name}' would be left with a bias of shape {tuple(bias)}, which Keras adds"
            " along another axis",
            "keep at least 2 channels (min_channels 2), or protect the layer",
        )


def resize_einsum_dense(layer: keras.Layer, config: dict[str, Any], sizes: Sizes) -> None:
    """`output_shape`, at the letter that the kernel makes."""
    given, kernel, result = _letters(layer.equation)
    new = [c for c in kernel if c not in given]
    if not new:
        return
    place = _place(result, new[-1])
    shape = config["output_shape"]
    shape = [shape] if isinstance(shape, int) else list(shape)
    shape[place] = sizes.weight(layer.kernel)[kernel.index(new[-1])]
    config["output_shape"] = tuple(shape)
    if layer.bias is not None:
        refuse_misread_bias(layer, sizes.weight(layer.bias), sizes.output())


DENSE = Rule(trace_dense, resize_dense)
EINSUM_DENSE = Rule(trace_einsum_dense, resize_einsum_dense)
CONVOLUTION = Rule(trace_convolution, resize_convolution)
TRANSPOSED = Rule(trace_transposed, resize_transposed)
DEPTHWISE = Rule(trace_depthwise, resize_depthwise)
SEPARABLE = Rule(trace_separable, resize_separable)
EMBEDDING = Rule(trace_embedding, resize_embedding)
REVERSIBLE_EMBEDDING = Rule(trace_reversible, resize_embedding)
