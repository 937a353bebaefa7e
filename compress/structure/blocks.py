"""Removing whole blocks: residual branches, and layers that keep the shape of what passes.

A block is a tensor that another one can stand in for: the sum at the end of a residual branch is
replaced by its other summand, a layer's output by its input. What nothing needs any more is left
out when the model is rebuilt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgepress.compress.cost import call_macs
from edgepress.compress.data import Dataset
from edgepress.compress.errors import InputError
from edgepress.compress.graph import Call, graph_of, needed, nodes_of, require_graph, resolve
from edgepress.compress.progress import Progress, Silent
from edgepress.compress.recipe import PruneSpec
from edgepress.compress.results import PruneResult, Removed
from edgepress.compress.structure.groups import find_channels
from edgepress.compress.structure.replay import affordable, feed
from edgepress.compress.structure.surgery import rebuild_without

# Operations of which one input can stand for the result.
_SUMS = ("Add", "Average")


@dataclass(frozen=True, eq=False)
class Block:
    """Something that can be left out whole.

    Attributes:
        name: Layer that makes the replaced tensor.
        tensor: The tensor that is replaced.
        stand_in: What takes its place, of the same shape.
        layers: Layers that then aren't needed any more.
        macs: Multiply-accumulates saved.
        params: Parameters saved.
    """

    name: str
    tensor: Any
    stand_in: Any
    layers: tuple[str, ...]
    macs: int
    params: int


def find_blocks(model: Any, protect: Sequence[str] = ()) -> list[Block]:
    """Everything of a model's own graph that can be left out whole and has weights.

    Args:
        model: A built Functional or Sequential model.
        protect: Layers (names or globs) that stay.

    Returns:
        The blocks, in the order of the graph.
    """
    graph = require_graph(model)
    found = []
    for node in nodes_of(graph):
        if node.is_input or len(node.output_tensors) != 1:
            continue
        tensor = node.output_tensors[0]
        for stand_in in _stand_ins(node, tensor):
            block = _block(graph, tensor, stand_in, protect)
            if block is not None:
                found.append(block)
    return found


def _stand_ins(node: Any, tensor: Any) -> list[Any]:
    """Inputs that can take a call's place: any summand, or the only input, of the same shape."""
    inputs = node.input_tensors
    if len(inputs) > 1 and type(node.operation).__name__ not in _SUMS:
        return []
    return [t for t in inputs if tuple(t.shape) == tuple(tensor.shape) and t.dtype == tensor.dtype]


def _block(graph: Any, tensor: Any, stand_in: Any, protect: Sequence[str]) -> Block | None:
    from edgepress.compress.weights.prunable import matches

    left = {id(n) for n in needed(graph, {id(tensor): stand_in})}
    gone = [n for n in nodes_of(graph) if not n.is_input and id(n) not in left]
    kept = {id(n.operation) for n in nodes_of(graph) if id(n) in left}
    own = [n for n in gone if id(n.operation) not in kept]
    weighted = [n for n in own if getattr(n.operation, "weights", None)]
    if not weighted or any(matches(n.operation.name, protect) for n in own):
        return None
    calls = [
        Call(
            n.operation.name,
            n.operation,
            tuple(tuple(t.shape) for t in n.input_tensors),
            tuple(tuple(t.shape) for t in n.output_tensors),
        )
        for n in gone
    ]
    weights = {id(w): math.prod(w.shape) for n in weighted for w in n.operation.weights}
    name = tensor._keras_history.operation.name
    layers = tuple(dict.fromkeys(n.operation.name for n in own))
    return Block(name, tensor, stand_in, layers, sum(map(_macs, calls)), sum(weights.values()))


def _macs(call: Call) -> int:
    from edgepress.compress.cost import model_cost

    inner = graph_of(call.operation)
    return model_cost(call.operation).macs if inner is not None else call_macs(call)


@dataclass(eq=False)
class _Judge:
    """Measures the loss of a model with tensors replaced."""

    model: Any
    inputs: list[Any]
    targets: Any
    task: Any

    def loss(self, replaced: Mapping[int, Any]) -> float:
        """Loss on the samples with some tensors replaced."""
        import keras

        from edgepress.compress.structure.importance.gradients import task_loss

        graph = graph_of(self.model)
        tensors = {id(t): x for t, x in zip(graph.inputs, self.inputs, strict=True)}
        for node in needed(graph, replaced):
            if node.is_input:
                continue
            shown = {id(t): tensors[id(resolve(t, replaced))] for t in node.input_tensors}
            args, kwargs = node.arguments.fill_in(shown)
            outputs = keras.tree.flatten(node.operation(*args, **kwargs))
            tensors.update((id(t), o) for t, o in zip(node.output_tensors, outputs, strict=True))
        results = [tensors[id(resolve(t, replaced))] for t in graph.outputs]
        return float(np.mean(task_loss(self.task, self.targets, results)))


def prune_layers(
    model: Any,
    dataset: Dataset | None,
    spec: PruneSpec,
    *,
    seed: int = 0,
    state_dir: Path | None = None,
    progress: Progress | None = None,
) -> PruneResult:
    """Remove whole residual branches and shape-preserving layers, the least missed ones first.

    Args:
        model: A built Functional or Sequential model; it stays as it is.
        dataset: Damage is measured on it.
        spec: Budget and recovery. `sparsity` is the share of the blocks that go.
        seed: Makes the run repeatable.
        state_dir: Folder for the training's checkpoints.
        progress: Receives the progress.

    Returns:
        The model without them, and the account.

    Raises:
        InputError: There is no data, nothing to remove, or the budget can't be reached.
    """
    from edgepress.compress.structure.pruning import StructuredRun

    if dataset is None:
        raise InputError(
            "structure layers measures what each layer is worth, and no data is given",
            "give data, or structure channels",
        )
    spec = spec.model_copy(update={"criterion": "damage"})
    run = StructuredRun(model, dataset, spec, seed, state_dir, progress or Silent())
    before = run.figures(model)
    with run.timed("prune"):
        chosen = choose_blocks(model, spec, dataset, seed, run.progress)
        replaced = {id(b.tensor): b.stand_in for b in chosen}
        surgery = rebuild_without(find_channels(model), replaced)
    small = run.finish(surgery, spec, "recover")
    removed = [Removed(b.name, b.layers, len(b.layers), len(b.layers)) for b in chosen]
    return run.result(small, before, tuple(removed), ())


def choose_blocks(
    model: Any, spec: PruneSpec, dataset: Dataset, seed: int, progress: Progress
) -> list[Block]:
    """Blocks to leave out: each time the one that costs the least loss for what it saves.

    Raises:
        InputError: The budget can't be reached.
    """
    blocks = find_blocks(model, spec.protect)
    saving, wanted, total = _wanted(model, blocks, spec)
    split = dataset.train or dataset.val or dataset.report_split
    samples, targets = split.sample(affordable(model, spec.calibration_samples), seed)
    judge = _Judge(model, feed(model, samples), targets, dataset.task)
    chosen: list[Block] = []
    replaced: dict[int, Any] = {}
    saved = 0.0
    while saved < wanted:
        left = [b for b in blocks if not _gone(b, replaced, graph_of(model))]
        if not left:
            raise InputError(
                f"leaving out every block that can go keeps {1 - saved / total:.2f},"
                f" and {1 - wanted / total:.2f} is asked for",
                "ask for more, or prune channels",
            )
        progress.step(len(chosen), len(blocks), "judging blocks")
        start = judge.loss(replaced)
        damage = [
            max(judge.loss({**replaced, id(b.tensor): b.stand_in}) - start, 1e-9) / saving(b)
            for b in left
        ]
        best = left[int(np.argmin(damage))]
        chosen.append(best)
        replaced[id(best.tensor)] = best.stand_in
        saved += saving(best)
    return chosen


def _wanted(model: Any, blocks: Sequence[Block], spec: PruneSpec) -> tuple[Any, float, float]:
    """How a block's saving is counted, how much is to be saved, and of how much."""
    from edgepress.compress.cost import model_cost

    cost = model_cost(model)
    if not blocks:
        raise InputError(
            f"model '{model.name}' has no residual branch or layer that can be left out whole",
            "prune channels",
        )
    if spec.target_macs is not None:
        return _saving_macs, *_to_save(spec.target_macs, cost.macs)
    if spec.target_params is not None:
        return _saving_params, *_to_save(spec.target_params, cost.params)
    return _saving_one, (spec.sparsity or 0.0) * len(blocks), float(len(blocks))


def _saving_macs(block: Block) -> float:
    return max(float(block.macs), 1e-9)


def _saving_params(block: Block) -> float:
    return float(block.params)


def _saving_one(_block: Block) -> float:
    return 1.0


def _to_save(target: float, full: int) -> tuple[float, float]:
    return full * (1 - target) if target <= 1 else full - target, float(full)


def _gone(block: Block, replaced: Mapping[int, Any], graph: Any) -> bool:
    """Whether a block was left out already, itself or as part of another."""
    if id(block.tensor) in replaced or resolve(block.stand_in, replaced) is block.tensor:
        return True
    nodes = needed(graph, replaced)
    return not any(block.tensor is t for n in nodes for t in n.output_tensors)
