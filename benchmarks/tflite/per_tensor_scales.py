"""One grid for kernels whose weights share values: clusters stay clusters in integer files.

A converter gives each output channel a scale of its own, from the largest weight in it, so that one
shared value becomes as many integers as there are scales. Here the scales of a clustered kernel are
set again, all from its largest shared value: the factor that a folded normalisation gave a channel
goes into its scale, and the integers are those of the shared values themselves. A negative factor
turns their signs, so that there may be twice as many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.tflite.unshare_biases import OPERANDS

if TYPE_CHECKING:
    from ai_edge_litert import schema_py_generated as schema

    from edgepress.benchmarks.tflite.graph import Tensor, TFLiteGraph

Array = NDArray[Any]

_MOST_VALUES, _LEAST_USES = 64, 4
# So many weights tell of nearly every kernel that it isn't clustered, without sorting all of it.
_GLANCE = 4096
# The integers of a channel lie within one of what they should be, plus the converter's rounding.
_MATCHED = 1.01
# Weights of a channel that is small beside the others are rounded more coarsely than on a grid of
# their own; the root of the mean square error may reach this share of theirs.
_COARSEST = 0.05
_LARGEST, _STEPS = 127, 256


@dataclass(frozen=True, eq=False)
class _Weights:
    """One int8 tensor with a scale for each channel, as views of the file's own bytes.

    Attributes:
        values: The integers, with the channels as first axis.
        scales: (channels,) the scales.
        biases: (integers, scales) of each bias that goes with it, (channels,) both.
        axis: Which axis of the tensor the channels are.
        shape: The tensor's own.
    """

    values: Array
    scales: Array
    biases: tuple[tuple[Array, Array], ...]
    axis: int
    shape: tuple[int, ...]

    def flat(self) -> Array:
        """(channels, rest) the integers."""
        return self.values.reshape(len(self.scales), -1)

    def orders(self, kernel: Array) -> Iterator[Array]:
        """(channels, rest) a Keras kernel in each of the tensor's possible orders."""
        for order in (
            np.moveaxis(kernel, -1, 0),
            np.moveaxis(kernel, -2, 0),
            kernel.reshape(*kernel.shape[:-2], -1),
        ):
            if [n for n in order.shape if n > 1] == [n for n in self.shape if n > 1]:
                placed = np.moveaxis(order.reshape(self.shape), self.axis, 0)
                yield placed.reshape(len(self.scales), -1)


def share_grid(path: Path, kernels: Sequence[Array]) -> int:
    """Give the clustered kernels of an integer TFLite file one grid each, in place.

    Args:
        path: The file; nothing else of it changes.
        kernels: The model's kernels, in Keras's layouts, of two axes or more.

    Returns:
        How many of the file's tensors were changed.
    """
    shared = [k for k in kernels if _shares_values(k)]
    if not shared:
        return 0
    content = bytearray(path.read_bytes())
    changed = 0
    for weights in _channelwise(content):
        found = next((f for k in shared if (f := _factors(weights, k)) is not None), None)
        changed += found is not None and _set(weights, *found)
    if changed:
        written = path.with_name(f"{path.name}.tmp")
        written.write_bytes(content)
        written.replace(path)
    return changed


def are_few(values: int, weights: int) -> bool:
    """Whether weights that take so many values are clustered: few of them, each used often.

    A small kernel whose weights all differ isn't.
    """
    return values <= _MOST_VALUES and values * _LEAST_USES <= weights


def _shares_values(kernel: Array) -> bool:
    if len(np.unique(kernel.ravel()[:_GLANCE])) > _MOST_VALUES:
        return False
    count = len(np.unique(kernel))
    return count > 2 and are_few(count, kernel.size)


def _factors(weights: _Weights, kernel: Array) -> tuple[Array, Array] | None:
    """The kernel in the order of the tensor that is made of it, and each channel's factor."""
    stored = weights.flat() * weights.scales[:, None].astype(np.float64)
    for arranged in weights.orders(kernel.astype(np.float64)):
        power = (arranged**2).sum(1)
        factors = (stored * arranged).sum(1) / np.where(power == 0, 1, power)
        errors = np.abs(stored - arranged * factors[:, None]).max(1)
        if (errors <= _MATCHED * weights.scales).all():
            return arranged, factors
    return None


def _set(weights: _Weights, arranged: Array, factors: Array) -> bool:
    """Write the integers and scales of a kernel; False where a channel would lose too much."""
    step, error = _step(arranged)
    if error > _COARSEST:
        return False
    live = factors != 0
    scales = np.where(live, np.abs(factors) * step, weights.scales).astype(np.float32)
    ratio = weights.scales.astype(np.float64) / scales
    signed = np.rint(arranged / step) * np.sign(factors)[:, None]
    weights.values[:] = signed.reshape(weights.values.shape)
    for values, bias_scales in weights.biases:
        values[:] = np.rint(values * ratio)
        bias_scales[:] = bias_scales / ratio
    weights.scales[:] = scales
    return True


def _step(arranged: Array) -> tuple[float, float]:
    """The grid that the shared values lie on best.

    Returns:
        (step, the largest root mean square error of a channel as a share of its weights').
    """
    values, index = np.unique(arranged, return_inverse=True)
    steps = np.abs(values).max() / np.linspace(_LARGEST * 0.75, _LARGEST, _STEPS)
    errors = (np.rint(values[:, None] / steps) * steps - values[:, None]) ** 2
    index = index.reshape(arranged.shape)
    counts = np.stack([np.bincount(channel, minlength=len(values)) for channel in index])
    power = counts @ values**2
    shares = (counts @ errors)[power > 0] / power[power > 0, None]
    best = int(shares.mean(0).argmin())
    return float(steps[best]), float(np.sqrt(shares[:, best].max()))


def _channelwise(content: bytearray) -> Iterator[_Weights]:
    """The int8 weights with a scale for each channel whose bytes nothing else reads."""
    from ai_edge_litert import schema_py_generated as schema

    from edgepress.benchmarks.tflite.graph import graph_of

    model = schema.Model.GetRootAs(content, 0)
    for place in range(model.SubgraphsLength()):
        graph, read = model.Subgraphs(place), graph_of(model, place)
        buffers = [graph.Tensors(i).Buffer() for i in range(graph.TensorsLength())]
        for tensor in read.tensors:
            if tensor.type != "INT8" or not tensor.constant or tensor.scales < 2:
                continue
            biases = _biases(read, tensor.index)
            if biases is None or any(
                buffers.count(buffers[i]) > 1 for i in (tensor.index, *biases)
            ):
                continue
            entry = graph.Tensors(tensor.index)
            axis = entry.Quantization().QuantizedDimension()
            yield _Weights(
                np.moveaxis(_numbers(model, entry, np.int8).reshape(tensor.shape), axis, 0),
                entry.Quantization().ScaleAsNumpy(),
                tuple(_bias(model, graph, read.tensors[i]) for i in biases),
                axis,
                tensor.shape,
            )


def _biases(graph: TFLiteGraph, weights: int) -> tuple[int, ...] | None:
    """The integer biases that go with weights; None where weights serve as something else."""
    found = set()
    for operator in graph.operators:
        if weights not in operator.inputs:
            continue
        own = OPERANDS.get(operator.name)
        if own is None or operator.inputs.index(weights) != own.weights:
            return None
        if len(operator.inputs) > own.bias and operator.inputs[own.bias] >= 0:
            found.add(operator.inputs[own.bias])
    return tuple(sorted(i for i in found if graph.tensors[i].scales))


def _bias(model: schema.Model, graph: schema.SubGraph, tensor: Tensor) -> tuple[Array, Array]:
    entry = graph.Tensors(tensor.index)
    kind = np.int64 if tensor.type == "INT64" else np.int32
    return _numbers(model, entry, kind), entry.Quantization().ScaleAsNumpy()


def _numbers(model: schema.Model, entry: schema.Tensor, kind: Any) -> Array:
    """A view of a tensor's numbers in the file's own bytes."""
    array: Array = model.Buffers(entry.Buffer()).DataAsNumpy().view(kind)
    return array
