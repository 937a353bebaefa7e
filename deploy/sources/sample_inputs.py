"""Made-up inputs that a model could have been given: for checks where there is no data."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

Arrays = dict[str, NDArray[Any]]
# Free sizes other than the batch (time steps, height, width) get this many.
FREE_SIZE = 32


def plausible_inputs(
    model: keras.Model, n: int, seed: int = 0, shapes: Mapping[str, Sequence[int]] | None = None
) -> Arrays:
    """Random inputs in the range that the model's first layers suggest.

    Args:
        model: A built Keras model.
        n: Number of samples.
        seed: Draws them.
        shapes: Sizes without the batch by input name, where the model leaves sizes free.

    Returns:
        Arrays by input name, each (n, …): whole numbers that index an embedding's table; 0 to 255
        before a layer that divides by 255; the adapted distribution before a Normalization; what
        the integers of a finished file's input stand for; else normal with mean 0 and variance 1.
    """
    found = {}
    for tensor in model.inputs:
        sizes = tuple((shapes or {}).get(tensor.name, tensor.shape[1:]))
        shape = (n, *(FREE_SIZE if size is None else size for size in sizes))
        rng = np.random.default_rng(
            (seed, zlib.crc32(tensor.name.encode("utf-8", "surrogatepass")))
        )
        first = _consumers(model, tensor)
        ranges = next((x.input_ranges for x in first if hasattr(x, "input_ranges")), None)
        if ranges and tensor.name in ranges:
            low, high = ranges[tensor.name]
            found[tensor.name] = rng.uniform(low, high, shape).astype(_dtype(tensor))
            continue
        found[tensor.name] = _draw(rng, shape, _dtype(tensor), first, model)
    return found


def _dtype(tensor: keras.KerasTensor) -> str:
    kind = tensor.dtype
    return str(getattr(kind, "name", kind))


def _draw(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    dtype: str,
    first: list[Any],
    model: keras.Model,
) -> NDArray[Any]:
    rows = [layer.input_dim for layer in first if hasattr(layer, "input_dim")]
    if rows:
        return rng.integers(0, min(rows), shape).astype(dtype)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if not dtype.startswith(("float", "bfloat")):
        rows = [layer.input_dim for layer in model.layers if hasattr(layer, "input_dim")]
        return rng.integers(0, min(rows, default=2), shape).astype(dtype)
    for layer in first:
        if type(layer).__name__ == "Rescaling" and np.max(np.abs(layer.scale)) < 0.1:
            return rng.uniform(0, 255, shape).astype(dtype)
        if type(layer).__name__ == "Normalization" and layer.mean is not None:
            mean, spread = np.asarray(layer.mean), np.sqrt(np.asarray(layer.variance))
            return (rng.standard_normal(shape) * spread + mean).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def _consumers(model: keras.Model, tensor: keras.KerasTensor) -> list[keras.Operation]:
    """The layers that read an input first; casts and nested inputs are looked through."""
    operations = getattr(model, "operations", None) or model.layers
    found = []
    for operation in operations:
        for node in getattr(operation, "_inbound_nodes", ()):
            if any(t is tensor for t in node.input_tensors):
                found.append(operation)
    return found
