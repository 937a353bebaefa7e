"""Repair without training: each layer refitted so that it does again what it did before.

The original and the pruned model run side by side on calibration samples, call by call. At each
matrix product (dense layers, convolutions of all kinds, the projections of attention, the input
kernels of recurrent layers) the pruned layer's kernel and bias are chosen by least squares, so that
on the pruned model's own activations (errors of earlier layers included) it gives what the original
layer gave, as far as a rectifier behind it lets that through, and at the end of a residual branch
also what the path beside it lost. Batch normalisation elsewhere is told the mean and variance that
it now sees. If in the end the outputs aren't nearer to the original's than they were right after
the cut, judged on other samples, everything is put back.

Sources:
    He, Zhang and Sun, "Channel pruning for accelerating very deep neural networks" (2017), section
    3.2, for the refit; Jordan et al., "REPAIR" (2023), for the statistics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.graph import graph_of, require_graph
from edgepress.compress.structure.repair.inner_inputs import called, inner_inputs
from edgepress.compress.structure.repair.least_squares import Product, RowSampler, products
from edgepress.compress.structure.repair.output_consumers import (
    Destination,
    Matrix,
    Pair,
    branch_by_branch,
    destination_of,
    readers_of,
)
from edgepress.compress.structure.repair.refit import Bend, refit
from edgepress.compress.structure.rules.kernels import channel_axis
from edgepress.compress.structure.surgery.slicing import sliced
from edgepress.compress.structure.surgery.surgery import Surgery
from edgepress.compress.structure.tracing.replay import feed, forget, uses_of
from edgepress.compress.training.loop.preserved_sparsity import Held

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Node

_ROWS_PER_FEATURE = 48
_FEWEST_ROWS = 16000
_MOST_FEATURES = 6000
# Most numbers that the rows of one layer may take.
_MOST_NUMBERS = 2**26
_PART = 64


@dataclass(eq=False)
class _Repair:
    surgery: Surgery
    seed: int
    held: Mapping[int, Held]
    seen: set[int] = field(default_factory=set)
    repaired: list[str] = field(default_factory=list)
    # Offsets that a refitted layer without a bias leaves to the normalisation after it.
    offsets: dict[int, Matrix] = field(default_factory=dict)

    @cached_property
    def _stood_for(self) -> dict[int, list[int]]:
        """For each tensor that replaces others, these, all by identity."""
        found: dict[int, list[int]] = {}
        for gone, replacement in self.surgery.remains.replaced.items():
            found.setdefault(id(replacement), []).append(gone)
        return found

    def run(
        self, model: keras.Model, old: list[tf.Tensor], new: list[tf.Tensor], prefix: str = ""
    ) -> tuple[list[tf.Tensor], ...]:
        """Run a graph in both versions, repairing on the way; gives both lists of outputs."""
        graph = require_graph(model)
        pair = Pair({}, {}, readers_of(graph))
        for tensor, one, other in zip(graph.inputs, old, new, strict=True):
            self._show(tensor, one, other, pair)
        waiting = uses_of(graph)
        left = {id(node) for node in self.surgery.remains.needed(graph)}
        for node in branch_by_branch(graph):
            if node.is_input:
                continue
            if id(node) in left:
                self._step(node, pair, prefix)
            else:
                outputs = called(node, pair.before)
                pair.before.update(zip(map(id, node.output_tensors), outputs, strict=True))
            forget(node, waiting, *pair.sides)
        return tuple([side[id(t)] for t in graph.outputs] for side in pair.sides)

    def _step(self, node: Node, pair: Pair, prefix: str) -> None:
        """Repair and run one call that is left."""
        import keras

        path = prefix + node.operation.name
        if graph_of(node.operation) is not None:
            old, new = ([side[id(t)] for t in node.input_tensors] for side in pair.sides)
            outputs, pruned = self.run(node.operation, old, new, f"{path}/")
        else:
            outputs = called(node, pair.before)
            self._mend(node, path, pair)
            pruned = keras.tree.flatten(self.surgery.call(node, pair.after))
        for tensor, one, other in zip(node.output_tensors, outputs, pruned, strict=True):
            self._show(tensor, one, other, pair)

    def _show(self, tensor: keras.KerasTensor, old: tf.Tensor, new: tf.Tensor, pair: Pair) -> None:
        """Note a tensor's values, the pruned model's also for all that it replaces."""
        pair.before[id(tensor)] = old
        waiting = [] if id(tensor) in self.surgery.remains.replaced else [id(tensor)]
        while waiting:
            key = waiting.pop()
            pair.after[key] = new
            waiting += self._stood_for.get(key, ())

    def _mend(self, node: Node, path: str, pair: Pair) -> None:
        """Repair one layer from its inputs, at its first use."""
        import keras

        layers, layer = keras.layers, node.operation
        pruned = self.surgery.layer(layer)
        if id(layer) in self.seen or pruned is None:
            return
        self.seen.add(id(layer))
        if isinstance(layer, (layers.MultiHeadAttention, layers.GroupQueryAttention)):
            narrowed = self._attend(node, pruned, pair)
        elif isinstance(layer, layers.BatchNormalization):
            narrowed = self._restate(node, layer, pruned, pair)
        elif isinstance(getattr(layer, "layer", None), layers.BatchNormalization):
            narrowed = self._restate(node, layer.layer, pruned.layer, pair)
        else:
            pairs = list(zip(products(layer), products(pruned), strict=True))
            given = [side[id(node.input_tensors[0])] for side in pair.sides]
            goes = destination_of(node, pair) if len(pairs) == 1 else None
            fits = [
                self._refit(one, other, given, _Place(node, pair, goes)) for one, other in pairs
            ]
            narrowed = any(fits)
        if narrowed:
            self.repaired.append(path)

    def _refit(self, old: Product, new: Product, given: list[tf.Tensor], place: _Place) -> bool:
        """Fit one product; whether it reads less than before."""
        kernel, cut = old.kernel(), new.kernel()
        blocks, features, outputs = cut.shape
        narrowed = kernel.shape[1] > features
        held = self.held.get(id(new.weight), Held(new.weight))
        if not features or features > _MOST_FEATURES or held.index is not None:
            return narrowed
        stays = None if held.stays is None else new.fold(held.stays)
        kept = self._outputs(old, new)
        most = max(_FEWEST_ROWS, _ROWS_PER_FEATURE * features)
        most = min(most, _MOST_NUMBERS // (kernel.shape[1] * old.blocks))
        sampler = RowSampler(most, self.seed)
        wanted = _multiply(sampler.drawn(given[0], old.rows), kernel)[:, kept] * place.scale
        bias = old.offsets()[kept] * place.scale
        bend, missing = place.bend(sampler, kept, bias)
        if missing is not None:
            wanted += missing
        rows = sampler.drawn(given[1], new.rows).reshape(len(wanted), blocks, features)
        intercept = new.bias is not None or place.normalised
        changed, offset = np.empty_like(cut), np.empty((blocks, outputs))
        for block in range(blocks):
            columns = slice(block * outputs, (block + 1) * outputs)
            changed[block], offset[block] = refit(
                rows[:, block],
                wanted[:, columns],
                cut[block],
                bend=None if bend is None else bend.part(columns),
                intercept=intercept,
                stays=None if stays is None else stays[block],
            )
        new.weight.assign(new.unfold(changed))
        left = offset.ravel()
        if new.bias is not None:
            new.set_offsets(left + bias)
            left = np.zeros_like(left)
        if place.normalised:
            self.offsets[id(place.node.output_tensors[0])] = left
        return narrowed

    def _outputs(self, old: Product, new: Product) -> NDArray[np.int64]:
        """Which outputs of a product stay, in the order in which the pruned product makes them."""
        blocks, features, outputs = old.kernel().shape
        numbers = np.arange(blocks * outputs).reshape(blocks, 1, outputs)
        labels = old.unfold(np.repeat(numbers, features, 1))
        return new.fold(sliced(labels, self.surgery.kept(old.weight)))[:, 0].ravel()

    def _attend(self, node: Node, pruned: keras.Layer, pair: Pair) -> bool:
        """The four projections: first those that read the inputs, then the one that joins heads."""
        names = ("_query_dense", "_key_dense", "_value_dense")
        before = inner_inputs(node.operation, [*names, "_output_dense"], node, pair.before)
        after = inner_inputs(pruned, list(names), node, pair.after, self.surgery)
        # Attention divides by the root of the key width, which the query makes good for.
        widths = [x._query_dense.kernel.shape[2] for x in (pruned, node.operation)]
        scales = (math.sqrt(widths[0] / widths[1]), 1.0, 1.0)
        narrowed = False
        for name, scale in zip(names, scales, strict=True):
            fit = self._project(node, name, [before[name], after[name]], pair, scale=scale)
            narrowed = narrowed or fit
        after = inner_inputs(pruned, ["_output_dense"], node, pair.after, self.surgery)
        given = [before["_output_dense"], after["_output_dense"]]
        goes = destination_of(node, pair)
        return self._project(node, "_output_dense", given, pair, goes) or narrowed

    def _project(
        self,
        node: Node,
        name: str,
        given: list[tf.Tensor],
        pair: Pair,
        goes: Destination | None = None,
        scale: float = 1.0,
    ) -> bool:
        pruned = self.surgery.layer(node.operation)
        one, other = (
            next(iter(products(getattr(x, name))), None) for x in (node.operation, pruned)
        )
        if one is None or other is None:
            return False
        return self._refit(one, other, given, _Place(node, pair, goes, scale))

    def _restate(self, node: Node, layer: keras.Layer, pruned: keras.Layer, pair: Pair) -> bool:
        """Move the statistics by as much as the inputs' statistics moved."""
        tensor = id(node.input_tensors[0])
        axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
        if layer is not node.operation and axis > 0:
            axis += 1
        kept = self.surgery.kept(layer.moving_mean)[0]
        mean = np.asarray(layer.moving_mean.numpy(), np.float64)[kept]
        variance = np.asarray(layer.moving_variance.numpy(), np.float64)[kept]
        if tensor in self.offsets:
            # The layer before was fitted to the very outputs that these statistics belong to.
            pruned.moving_mean.assign(mean - self.offsets[tensor])
            return False
        mean_old, variance_old = _moments(pair.before[tensor], axis)
        mean_new, variance_new = _moments(pair.after[tensor], axis)
        pruned.moving_mean.assign(mean + mean_new - mean_old[kept])
        ratio = (variance_new + layer.epsilon) / (variance_old[kept] + layer.epsilon)
        pruned.moving_variance.assign(variance * ratio)
        return False


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a product stands: its layer's call, and what becomes of what it gives."""

    node: Any
    pair: Pair
    goes: Destination | None
    scale: float = 1.0

    @property
    def normalised(self) -> bool:
        """Whether batch normalisation takes up an offset."""
        return self.goes is not None and self.goes.normalised

    def bend(
        self, sampler: RowSampler, kept: NDArray[np.int64], bias: Matrix
    ) -> tuple[Bend | None, Matrix | None]:
        """What hides errors behind the product, and what the summands beside it lost."""
        goes = self.goes
        if goes is None:
            return None, None
        factor = goes.factor[kept] if len(goes.factor) else np.ones(len(kept))
        beside = self._beside(sampler, kept)
        if beside is None:
            return None, None
        old, new = beside
        if not goes.bends:
            return None, (old - new) / factor if goes.others else None
        shift = goes.shift[kept] if len(goes.shift) else 0.0
        rows = np.zeros((1, len(kept))) if not goes.others else new
        bend = Bend(factor, rows + shift + factor * bias, *goes.clip)
        return bend, (old - new) / factor if goes.others else None

    def _beside(self, sampler: RowSampler, kept: NDArray[np.int64]) -> tuple[Any, Any] | None:
        """The sum of the other summands in both models; None where their channels don't match."""
        assert self.goes is not None
        axis = channel_axis(self.node.operation)
        sums: list[Any] = [0.0, 0.0]
        for tensor in self.goes.others:
            old, new = (sampler.points(side[id(tensor)], axis) for side in self.pair.sides)
            if new.shape[1] != len(kept) or old.shape[1] <= int(kept.max()):
                return None
            sums = [sums[0] + old[:, kept], sums[1] + new]
        return sums[0], sums[1]


def _multiply(rows: Matrix, kernel: Matrix) -> Matrix:
    """(rows, blocks x features) with (blocks, features, outputs): (rows, blocks x outputs)."""
    blocks, features, outputs = kernel.shape
    split = rows.reshape(len(rows), blocks, features).swapaxes(0, 1)
    return np.asarray((split @ kernel).swapaxes(0, 1).reshape(len(rows), blocks * outputs))


def _moments(values: tf.Tensor, axis: int) -> tuple[Matrix, Matrix]:
    flat = np.moveaxis(np.asarray(values, np.float64), axis, -1)
    flat = flat.reshape(-1, flat.shape[-1])
    return flat.mean(0), flat.var(0)


def repair(
    surgery: Surgery,
    samples: Mapping[str, Any],
    seed: int = 0,
    held: Mapping[int, Held] | None = None,
    unseen: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
    """Repair a pruned model in place, unless that makes it worse on other samples.

    Args:
        surgery: The original and the pruned model.
        samples: (n, …) array for each input.
        seed: Draws the rows that layers are fitted on.
        held: Kernels by identity in which something stays: zeros aren't refitted, and kernels whose
            weights share values are left as they are.
        unseen: Samples on which the outcome is judged; the same ones by default.

    Returns:
        Paths of the layers that read removed channels and were refitted; none where the pruned
        model was as near to the original as before.
    """
    original, pruned = surgery.channels.model, surgery.model
    judged = samples if unseen is None else unseen
    wanted, inputs = _outputs(original, feed(original, judged)), feed(pruned, judged)
    weights = [w.numpy() for w in pruned.weights]
    cut = _outputs(pruned, inputs)
    work = _Repair(surgery, seed, held or {})
    work.run(original, feed(original, samples), feed(pruned, samples))
    if _distance(wanted, _outputs(pruned, inputs)) < _distance(wanted, cut):
        return tuple(work.repaired)
    for weight, value in zip(pruned.weights, weights, strict=True):
        weight.assign(value)
    return ()


def _outputs(model: keras.Model, inputs: list[tf.Tensor]) -> list[NDArray[Any]]:
    """A model's outputs, a few samples at a time."""
    import keras

    shape = require_graph(model)._inputs_struct
    parts = []
    for start in range(0, len(inputs[0]), _PART):
        given = keras.tree.pack_sequence_as(shape, [x[start : start + _PART] for x in inputs])
        parts.append(keras.tree.flatten(model(given, training=False)))
    return [np.concatenate([np.asarray(p) for p in part]) for part in zip(*parts, strict=True)]


def _distance(wanted: list[NDArray[Any]], found: list[NDArray[Any]]) -> float:
    """Squared error as a share of the outputs' variance, summed over the outputs."""
    total = 0.0
    for one, other in zip(wanted, found, strict=True):
        one, other = (np.asarray(x, np.float64) for x in (one, other))
        total += float(np.square(one - other).mean() / (one.var() + 1e-12))
    return total
