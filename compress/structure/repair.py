"""Repair without training: each layer refitted so that it does again what it did before.

The original and the pruned model run side by side on calibration samples, call by call. At each
layer that is one matrix product, the pruned layer's kernel and bias are chosen by least squares, so
that on the pruned model's own activations (errors of earlier layers included) it gives what the
original layer gave, and at the end of a residual branch also what the path beside it lost. Batch
normalisation elsewhere is told the mean and variance that it now sees.

Sources:
    He, Zhang and Sun, "Channel pruning for accelerating very deep neural networks" (2017), section
    3.2, for the refit; Jordan et al., "REPAIR" (2023), for the statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.graph import graph_of, nodes_of
from edgepress.compress.structure.linear import RowSampler, is_linear, kernel_rows, taps
from edgepress.compress.structure.replay import Tensors, feed, forget, uses_of
from edgepress.compress.structure.rules.kernels import channel_axis
from edgepress.compress.structure.surgery import Surgery

Matrix = NDArray[np.float64]
# Least pull of the refitted kernel towards the one that was cut, as a share of the mean energy of
# a feature; the fewer rows there are for each feature, the stronger the pull.
_RIDGE = 1e-3
_ROWS_PER_FEATURE = 24
_FEWEST_ROWS = 8000
_MOST_FEATURES = 6000


def refit(
    inputs: Matrix, wanted: Matrix, kernel: Matrix, ridge: float | None = None
) -> tuple[Matrix, Matrix]:
    """The kernel and offset that come nearest to wanted outputs.

    Minimises `|inputs @ (kernel + change) + offset - wanted|² + ridge' |change|²` in closed form,
    with `ridge' = ridge x mean energy of a feature x rows`.

    Args:
        inputs: (rows, features).
        wanted: (rows, outputs).
        kernel: (features, outputs) to start from.
        ridge: How strongly the kernel is held to where it starts; by default features / rows.

    Returns:
        (features, outputs) kernel, and (outputs,) offset.
    """
    if ridge is None:
        ridge = max(_RIDGE, inputs.shape[1] / len(inputs))
    mean_in, mean_out = inputs.mean(0), wanted.mean(0)
    centred = inputs - mean_in
    missing = (wanted - mean_out) - centred @ kernel
    gram = centred.T @ centred
    hold = ridge * np.trace(gram) / len(gram) + 1e-9
    gram[np.diag_indices_from(gram)] += hold
    changed = kernel + np.linalg.solve(gram, centred.T @ missing)
    return changed, mean_out - mean_in @ changed


@dataclass(eq=False)
class _Repair:
    surgery: Surgery
    seed: int
    seen: set[int] = field(default_factory=set)
    repaired: list[str] = field(default_factory=list)
    # Offsets that a refitted layer without a bias leaves to the normalisation after it.
    offsets: dict[int, Matrix] = field(default_factory=dict)

    def run(self, model: Any, old: list[Any], new: list[Any], prefix: str = "") -> Any:
        """Run a graph in both versions, repairing on the way; gives both lists of outputs."""
        graph = graph_of(model)
        before: Tensors = {id(t): x for t, x in zip(graph.inputs, old, strict=True)}
        after: Tensors = {id(t): x for t, x in zip(graph.inputs, new, strict=True)}
        waiting = uses_of(graph)
        readers = readers_of(graph)
        for node in branch_by_branch(graph):
            if not node.is_input:
                self._step(node, _Pair(before, after, readers), prefix)
                forget(node, waiting, before, after)
        outputs = [id(t) for t in graph.outputs]
        return [before[i] for i in outputs], [after[i] for i in outputs]

    def _step(self, node: Any, pair: _Pair, prefix: str) -> None:
        import keras

        path = prefix + node.operation.name
        if graph_of(node.operation) is not None:
            old, new = ([side[id(t)] for t in node.input_tensors] for side in pair.sides)
            outputs, pruned = self.run(node.operation, old, new, f"{path}/")
        else:
            args, kwargs = node.arguments.fill_in(pair.before)
            outputs = keras.tree.flatten(node.operation(*args, **kwargs))
            self._mend(node, path, pair)
            pruned = keras.tree.flatten(self.surgery.call(node, pair.after))
        for tensor, one, other in zip(node.output_tensors, outputs, pruned, strict=True):
            pair.before[id(tensor)], pair.after[id(tensor)] = one, other

    def _mend(self, node: Any, path: str, pair: _Pair) -> None:
        """Repair one layer from its inputs, at its first use."""
        import keras

        layer = node.operation
        if id(layer) in self.seen or not isinstance(layer, keras.Layer):
            return
        self.seen.add(id(layer))
        pruned = self.surgery.layer(layer)
        if is_linear(layer):
            self._refit(node, pruned, pair)
            if layer.kernel.shape[-2] != pruned.kernel.shape[-2]:
                self.repaired.append(path)
        elif isinstance(layer, keras.layers.BatchNormalization):
            self._restate(node, pruned, pair)

    def _refit(self, node: Any, pruned: Any, pair: _Pair) -> None:
        layer = node.operation
        features = taps(layer) * int(layer.kernel.shape[-2])
        if features > _MOST_FEATURES:
            return
        sampler = RowSampler(max(_FEWEST_ROWS, _ROWS_PER_FEATURE * features), self.seed)
        old, new = (side[id(node.input_tensors[0])] for side in pair.sides)
        kept = self.surgery.kept(layer.kernel)[-1]
        wanted = sampler.rows(layer, old) @ kernel_rows(layer)[:, kept]
        missing = self._missing(node, pair, sampler, kept)
        if missing is not None:
            wanted += missing
        kernel, offset = refit(sampler.rows(pruned, new), wanted, kernel_rows(pruned))
        pruned.kernel.assign(kernel.reshape(pruned.kernel.shape))
        if pruned.bias is not None:
            pruned.bias.assign(offset + np.asarray(layer.bias.numpy())[kept])
            offset = np.zeros_like(offset)
        self.offsets[id(node.output_tensors[0])] = offset

    def _missing(self, node: Any, pair: _Pair, sampler: RowSampler, kept: Any) -> Matrix | None:
        """What the other summands lost, where this layer's output is added to them.

        Such a layer can make good for the errors of the path that runs beside it.
        """
        found = branch_end(node, pair)
        if found is None:
            return None
        others, scale = found
        axis = channel_axis(node.operation)
        lost: Any = 0.0
        for tensor in others:
            old, new = (sampler.points(side[id(tensor)], axis) for side in pair.sides)
            if new.shape[1] != len(kept) or old.shape[1] <= int(kept.max()):
                return None
            lost = lost + old[:, kept] - new
        return np.asarray(lost / scale[kept] if len(scale) else lost)

    def _restate(self, node: Any, pruned: Any, pair: _Pair) -> None:
        """Move the statistics by as much as the inputs' statistics moved."""
        layer, tensor = node.operation, id(node.input_tensors[0])
        axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
        kept = self.surgery.kept(layer.moving_mean)[0]
        mean = np.asarray(layer.moving_mean.numpy(), np.float64)[kept]
        variance = np.asarray(layer.moving_variance.numpy(), np.float64)[kept]
        if tensor in self.offsets:
            # The layer before was fitted to the very outputs that these statistics belong to.
            pruned.moving_mean.assign(mean - self.offsets[tensor])
            return
        mean_old, variance_old = _moments(pair.before[tensor], axis)
        mean_new, variance_new = _moments(pair.after[tensor], axis)
        pruned.moving_mean.assign(mean + mean_new - mean_old[kept])
        ratio = (variance_new + layer.epsilon) / (variance_old[kept] + layer.epsilon)
        pruned.moving_variance.assign(variance * ratio)


@dataclass(frozen=True, eq=False)
class _Pair:
    """Values of a graph's tensors in the original and in the pruned model.

    Attributes:
        before: The original's, by identity of the original's symbolic tensors.
        after: The pruned model's, by the same keys.
        readers: The nodes that read each tensor.
    """

    before: Tensors
    after: Tensors
    readers: dict[int, list[Any]]

    @property
    def sides(self) -> tuple[Tensors, Tensors]:
        """Both."""
        return self.before, self.after


def readers_of(graph: Any) -> dict[int, list[Any]]:
    """The nodes that read each tensor; an output is read once more, by nobody."""
    readers: dict[int, list[Any]] = {id(t): [None] for t in graph.outputs}
    for node in nodes_of(graph):
        for tensor in node.input_tensors:
            readers.setdefault(id(tensor), []).append(node)
    return readers


def branch_by_branch(graph: Any) -> list[Any]:
    """The nodes in an order in which, before a sum, one branch is finished before the next.

    The shorter branch comes first, so that the longer one, which can do more, makes good for it.
    """
    makers = {id(t): n for n in nodes_of(graph) for t in n.output_tensors}
    length: dict[int, int] = {}
    for node in nodes_of(graph):
        before = [length[id(makers[id(t)])] for t in node.input_tensors]
        length[id(node)] = 1 + max(before, default=0)
    done: dict[int, Any] = {}
    waiting = [makers[id(t)] for t in reversed(graph.outputs)]
    while waiting:
        node = waiting[-1]
        feeding = [makers[id(t)] for t in node.input_tensors]
        open_ones = sorted((n for n in feeding if id(n) not in done), key=lambda n: length[id(n)])
        if open_ones:
            waiting.append(open_ones[0])
        else:
            done[id(node)] = node
            waiting.pop()
    return list(done.values())


def branch_end(node: Any, pair: _Pair) -> tuple[list[Any], Matrix] | None:
    """The sum that a layer's output goes into, through normalisation at most.

    Returns:
        The other summands, all known by now, and the factor that each channel gets on the way
        (empty where there is none); None where the output goes elsewhere.
    """
    import keras

    scale = np.zeros(0)
    tensor = node.output_tensors[0]
    if _is_curved(node.operation):
        return None
    while len(pair.readers.get(id(tensor), [])) == 1:
        reader = pair.readers[id(tensor)][0]
        operation = getattr(reader, "operation", None)
        if isinstance(operation, keras.layers.Add):
            others = [t for t in reader.input_tensors if t is not tensor]
            known = all(id(t) in side for t in others for side in pair.sides)
            return (others, scale) if known and others else None
        if not isinstance(operation, keras.layers.BatchNormalization) or len(scale):
            return None
        scale = _factors(operation)
        tensor = reader.output_tensors[0]
    return None


def _is_curved(layer: Any) -> bool:
    activation = getattr(layer, "activation", None)
    return activation is not None and getattr(activation, "__name__", "") != "linear"


def _factors(layer: Any) -> Matrix:
    """What batch normalisation multiplies each channel with; kept away from 0."""
    variance = np.asarray(layer.moving_variance.numpy(), np.float64)
    gamma = np.ones_like(variance) if layer.gamma is None else np.asarray(layer.gamma.numpy())
    factors = gamma / np.sqrt(variance + layer.epsilon)
    least = 0.1 * float(np.median(np.abs(factors))) + 1e-9
    return np.where(np.abs(factors) < least, np.copysign(least, factors), factors)


def _moments(values: Any, axis: int) -> tuple[Matrix, Matrix]:
    flat = np.moveaxis(np.asarray(values, np.float64), axis, -1)
    flat = flat.reshape(-1, flat.shape[-1])
    return flat.mean(0), flat.var(0)


def repair(surgery: Surgery, samples: Mapping[str, Any], seed: int = 0) -> tuple[str, ...]:
    """Repair a pruned model in place.

    Args:
        surgery: The original and the pruned model.
        samples: (n, …) array for each input.
        seed: Draws the rows that layers are fitted on.

    Returns:
        Paths of the layers that read removed channels and were refitted.
    """
    work = _Repair(surgery, seed)
    original = surgery.channels.model
    work.run(original, feed(original, samples), feed(surgery.model, samples))
    return tuple(work.repaired)
