"""Repair without training: each layer refitted so that it does again what it did before.

The original and the pruned model run side by side on calibration samples, call by call. At each
layer that is one matrix product, the pruned layer's kernel and bias are chosen by least squares, so
that on the pruned model's own activations (errors of earlier layers included) it gives what the
original layer gave. After it, batch normalisation is told the mean and variance that it now sees.

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
    statistics: bool
    refitted: set[int] = field(default_factory=set)
    repaired: list[str] = field(default_factory=list)

    def run(self, model: Any, old: list[Any], new: list[Any], prefix: str = "") -> Any:
        """Run a graph in both versions, repairing on the way; gives both lists of outputs."""
        graph = graph_of(model)
        before: Tensors = {id(t): x for t, x in zip(graph.inputs, old, strict=True)}
        after: Tensors = {id(t): x for t, x in zip(graph.inputs, new, strict=True)}
        waiting = uses_of(graph)
        for node in nodes_of(graph):
            if not node.is_input:
                self._step(node, before, after, prefix)
                forget(node, waiting, before, after)
        outputs = [id(t) for t in graph.outputs]
        return [before[i] for i in outputs], [after[i] for i in outputs]

    def _step(self, node: Any, before: Tensors, after: Tensors, prefix: str) -> None:
        import keras

        old = [before[id(t)] for t in node.input_tensors]
        new = [after[id(t)] for t in node.input_tensors]
        path = prefix + node.operation.name
        if graph_of(node.operation) is not None:
            outputs, pruned = self.run(node.operation, old, new, f"{path}/")
        else:
            args, kwargs = node.arguments.fill_in(before)
            outputs = keras.tree.flatten(node.operation(*args, **kwargs))
            self._mend(node, path, old[0], new[0])
            pruned = keras.tree.flatten(self.surgery.call(node, after))
        for tensor, one, other in zip(node.output_tensors, outputs, pruned, strict=True):
            before[id(tensor)], after[id(tensor)] = one, other

    def _mend(self, node: Any, path: str, old: Any, new: Any) -> None:
        """Repair one layer from its inputs, at its first use."""
        import keras

        layer = node.operation
        if id(layer) in self.refitted or not isinstance(layer, keras.Layer):
            return
        self.refitted.add(id(layer))
        pruned = self.surgery.layer(layer)
        if is_linear(layer) and layer.kernel.shape[-2] != pruned.kernel.shape[-2]:
            self._refit(layer, pruned, old, new)
            self.repaired.append(path)
        elif is_linear(layer):
            self._refit(layer, pruned, old, new)
        elif isinstance(layer, keras.layers.BatchNormalization) and self.statistics:
            self._restate(layer, pruned, old, new)

    def _refit(self, layer: Any, pruned: Any, old: Any, new: Any) -> None:
        features = taps(layer) * int(layer.kernel.shape[-2])
        if features > _MOST_FEATURES:
            return
        sampler = RowSampler(max(_FEWEST_ROWS, _ROWS_PER_FEATURE * features), self.seed)
        kept = self.surgery.kept(layer.kernel)[-1]
        wanted = sampler.rows(layer, old) @ kernel_rows(layer)[:, kept]
        start = kernel_rows(pruned)
        kernel, offset = refit(sampler.rows(pruned, new), wanted, start)
        pruned.kernel.assign(kernel.reshape(pruned.kernel.shape))
        if pruned.bias is not None:
            pruned.bias.assign(offset + np.asarray(layer.bias.numpy())[kept])

    def _restate(self, layer: Any, pruned: Any, old: Any, new: Any) -> None:
        """Move the statistics by as much as the inputs' statistics moved."""
        axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
        kept = self.surgery.kept(layer.moving_mean)[0]
        mean_old, variance_old = _moments(old, axis)
        mean_new, variance_new = _moments(new, axis)
        mean = np.asarray(layer.moving_mean.numpy(), np.float64)[kept]
        variance = np.asarray(layer.moving_variance.numpy(), np.float64)[kept]
        pruned.moving_mean.assign(mean + mean_new - mean_old[kept])
        ratio = (variance_new + layer.epsilon) / (variance_old[kept] + layer.epsilon)
        pruned.moving_variance.assign(variance * ratio)


def _moments(values: Any, axis: int) -> tuple[Matrix, Matrix]:
    flat = np.moveaxis(np.asarray(values, np.float64), axis, -1)
    flat = flat.reshape(-1, flat.shape[-1])
    return flat.mean(0), flat.var(0)


def repair(
    surgery: Surgery, samples: Mapping[str, Any], seed: int = 0, statistics: bool = True
) -> tuple[str, ...]:
    """Repair a pruned model in place.

    Args:
        surgery: The original and the pruned model.
        samples: (n, …) array for each input.
        seed: Draws the rows that layers are fitted on.
        statistics: Whether batch normalisation is told what it now sees.

    Returns:
        Paths of the layers that read removed channels and were refitted.
    """
    work = _Repair(surgery, seed, statistics)
    work.run(
        surgery.channels.model,
        feed(surgery.channels.model, samples),
        feed(surgery.model, samples),
    )
    return tuple(work.repaired)
