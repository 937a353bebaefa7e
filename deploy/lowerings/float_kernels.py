"""Copies of models whose kernels Keras's own `quantize` rounded, with these values in floats.

Keras multiplies integers that no 8-bit kernel of a file format matches: TensorFlow's converter
refuses them or drops the ReLU behind them, and ONNX files would be quantised twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError
from edgepress.deploy.lowerings.recurrent import cloned_model, flat_layers

if TYPE_CHECKING:
    import keras

# Modes whose kernels are integers; `float8` only rounds floats on the way.
INTEGER_MODES = frozenset({"int8", "int4", "gptq", "awq"})
# What is left of a layer for its product alone: attributes that act on the product.
_PRODUCT_ALONE = {"activation": None, "bias": None, "logit_soft_cap": None}
_OF_ADAPTERS = ("lora_rank", "lora_alpha")


def rounded_layers(model: keras.Model) -> list[keras.Layer]:
    """The layers whose kernels Keras rounded to integers."""
    return [x for x in flat_layers(model) if getattr(x, "quantization_mode", "") in INTEGER_MODES]


def with_float_kernels(model: keras.Model) -> keras.Model:
    """A model of the same graph whose integer kernels are floats of the same values.

    Adapters (LoRA) become part of the kernels.

    Args:
        model: A functional or Sequential Keras model.

    Returns:
        A new model; the given one where no kernel is rounded.

    Raises:
        InputError: A layer isn't of those whose kernels are known, or can't be rebuilt.
    """
    rounded = rounded_layers(model)
    if not rounded:
        return model
    _check_kinds(model, rounded)
    try:
        copy = cloned_model(model, lambda layer: _without_rounding(layer.get_config()))
        for old, new in _pairs(model, copy):
            _fill(old, new)
    except InputError:  # says more already
        raise
    except Exception as error:  # layers of one's own may fail in any way
        first = " ".join(str(error).split())[:200]
        raise _refused(rounded[0], f"a copy in floats fails: {first}") from error
    return copy


def _check_kinds(model: keras.Model, rounded: Sequence[keras.Layer]) -> None:
    for layer in rounded:
        if type(layer).__name__ not in _KERNELS:
            raise _refused(layer, f"the kernel of a {type(layer).__name__} can't be read")
    for outer in flat_layers(model):
        if type(outer).__name__ == "TimeDistributed" and outer.layer in rounded:
            raise _refused(
                outer.layer,
                f"'{outer.name}' (TimeDistributed) doesn't scale what it gives in Keras",
            )


def remark(model: keras.Model) -> str:
    """What is to be said of `with_float_kernels`; empty where it changes nothing."""
    rounded = rounded_layers(model)
    if not rounded:
        return ""
    others = f" and {len(rounded) - 1} others" if len(rounded) > 1 else ""
    modes = ", ".join(sorted({layer.quantization_mode for layer in rounded}))
    return (
        f"layer '{rounded[0].name}'{others}: the {modes} kernels that Keras's quantize() left are"
        " taken as floats of the same values, and activations aren't rounded"
    )


def _refused(layer: keras.Layer, why: str) -> InputError:
    return InputError(
        f"layer '{layer.name}' computes in {layer.quantization_mode}, as Keras's quantize() left"
        f" it, and {why}",
        "export the model from before that with --quantize int8",
    )


def _pairs(old: keras.Layer, new: keras.Layer) -> Iterator[tuple[keras.Layer, keras.Layer]]:
    """Layers of a model and of its copy; `quantize` leaves those inside a layer in any order."""
    mine, theirs = (_inside(layer) for layer in (old, new))
    if len(mine) == len({layer.name for layer in mine}):
        mine, theirs = (sorted(x, key=lambda layer: str(layer.name)) for x in (mine, theirs))
    for before, after in zip(mine, theirs, strict=True):
        yield before, after
        yield from _pairs(before, after)


def _inside(layer: keras.Layer) -> list[keras.Layer]:
    """The layers right inside a layer."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def _fill(old: keras.Layer, new: keras.Layer) -> None:
    """Give a layer the weights of its forerunner, without those of the layers inside."""
    if getattr(old, "quantization_mode", "") not in INTEGER_MODES:
        for mine, theirs in zip(_own(new), _own(old), strict=True):
            mine.assign(theirs)
        return
    for name, value in _KERNELS[type(old).__name__](old).items():
        getattr(new, name).assign(value)
    if getattr(old, "bias", None) is not None:
        new.bias.assign(old.bias)


def _own(layer: keras.Layer) -> list[keras.Variable]:
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def _without_rounding(config: Any) -> Any:
    """A configuration without policies and settings of quantisation, and without adapters."""
    if isinstance(config, dict):
        if (source := _source_of(config)) is not None:
            return source
        rounded = _source_of(config.get("dtype")) is not None
        left_out = ("quantization_config", *_OF_ADAPTERS) if rounded else ()
        return {k: _without_rounding(v) for k, v in config.items() if k not in left_out}
    if isinstance(config, list | tuple):
        return type(config)(_without_rounding(value) for value in config)
    return config


def _source_of(policy: Any) -> str | None:
    """The policy that a quantised one was made from, by name; None where it is none."""
    inner = policy.get("config") if isinstance(policy, dict) else None
    if not isinstance(inner, dict) or "DTypePolicy" not in str(policy.get("class_name")):
        return None
    return inner.get("source_name")


def _product(layer: keras.Layer, values: NDArray[Any], **options: Any) -> NDArray[Any]:
    """What a layer makes of inputs by its kernel alone, in Keras's own words for its mode."""
    alone = {key: value for key, value in _PRODUCT_ALONE.items() if hasattr(layer, key)}
    # Past the constructor, which would make weights.
    bare = object.__new__(type(layer))
    vars(bare).update(vars(layer) | alone)
    call = getattr(bare, f"_{layer.quantization_mode}_call")
    return np.asarray(call(values, **options), np.float32)


def _unit_rows(size: int) -> NDArray[Any]:
    """Rows of an identity matrix, which Keras's rounding of activations leaves as they are."""
    return np.eye(size, dtype=np.float32)


def _dense(layer: keras.Layer) -> Mapping[str, Any]:
    return {"_kernel": _product(layer, _unit_rows(layer.input_spec.axes[-1]))}


def _embedding(layer: keras.Layer) -> Mapping[str, Any]:
    return {"_embeddings": _product(layer, np.arange(layer.input_dim))}


def _reversible(layer: keras.Layer) -> Mapping[str, Any]:
    if layer.tie_weights:
        return _embedding(layer)
    backwards = _product(layer, _unit_rows(layer.output_dim), reverse=True)
    return {**_embedding(layer), "reverse_embeddings": backwards}


def _einsum(layer: keras.Layer) -> Mapping[str, Any]:
    """The kernel by what comes out for each of the positions that it shares with its input."""
    # Keras rounds no layer whose equation leaves axes open ("...").
    left, out = layer.equation.replace(" ", "").split("->")
    given, kernel = left.split(",")
    sizes = dict(zip(kernel, _einsum_shape(layer), strict=True))
    shared = [letter for letter in given if letter in kernel]
    made = [letter for letter in out if letter in kernel and letter not in shared]
    count = math.prod(sizes[letter] for letter in shared)
    first = next(letter for letter in given if letter not in kernel)
    shape = [count if x == first else sizes.get(x, 1) for x in given]
    product = _product(layer, _unit_rows(count).reshape(shape))
    # Where an axis of both comes out again, all but one of its positions are zero.
    summed = tuple(i for i, x in enumerate(out) if x != first and x not in made)
    moved = np.moveaxis(product, out.index(first), 0)
    summed = tuple(i if i > out.index(first) else i + 1 for i in summed)
    flat = moved.sum(axis=summed).reshape([sizes[letter] for letter in (*shared, *made)])
    order = [(*shared, *made).index(letter) for letter in kernel]
    return {"_kernel": flat.transpose(order)}


def _einsum_shape(layer: keras.Layer) -> tuple[int, ...]:
    return tuple(getattr(layer, "original_kernel_shape", None) or layer._kernel.shape)


_KERNELS: dict[str, Callable[[Any], Mapping[str, Any]]] = {
    "Dense": _dense,
    "EinsumDense": _einsum,
    "Embedding": _embedding,
    "ReversibleEmbedding": _reversible,
}
