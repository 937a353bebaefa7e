"""Removing whole blocks of layers, those first whose loss is measured to cost the least."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgepress.compress.amounts import limit_of
from edgepress.compress.data import Dataset
from edgepress.compress.errors import InputError
from edgepress.compress.graph import graph_of, needed, resolve
from edgepress.compress.progress import Progress, Silent
from edgepress.compress.recipe import PruneSpec
from edgepress.compress.results import PruneResult, Removed
from edgepress.compress.structure.blocks import Block, Ledger, find_blocks
from edgepress.compress.structure.groups import find_channels
from edgepress.compress.structure.replay import affordable, feed
from edgepress.compress.structure.surgery import rebuild_without

# Multiply-accumulates that one look at all blocks may take, and fewest samples for it.
_MOST_MACS = 3e12
_FEWEST = 64


@dataclass(eq=False)
class _Judge:
    """Measures the loss of a model with tensors replaced."""

    model: Any
    inputs: list[Any]
    targets: Any
    task: Any

    def loss(self, replaced: Mapping[int, Any]) -> float:
        """Loss on the samples with some tensors replaced."""
        from edgepress.compress.structure.importance.gradients import task_loss

        results = self._run(graph_of(self.model), self.inputs, replaced)
        return float(np.mean(task_loss(self.task, self.targets, results)))

    def _run(self, graph: Any, inputs: list[Any], replaced: Mapping[int, Any]) -> list[Any]:
        import keras

        tensors = {id(t): x for t, x in zip(graph.inputs, inputs, strict=True)}
        for node in needed(graph, replaced):
            if node.is_input:
                continue
            shown = {id(t): tensors[id(resolve(t, replaced))] for t in node.input_tensors}
            inner = graph_of(node.operation)
            if inner is not None:
                given = [shown[id(t)] for t in node.input_tensors]
                outputs = self._run(inner, given, replaced)
            else:
                args, kwargs = node.arguments.fill_in(shown)
                outputs = keras.tree.flatten(node.operation(*args, **kwargs))
            tensors.update((id(t), o) for t, o in zip(node.output_tensors, outputs, strict=True))
        return [tensors[id(resolve(t, replaced))] for t in graph.outputs]


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
        spec: Budget, steps and recovery. `sparsity` is the share of the blocks that go.
        seed: Makes the run repeatable.
        state_dir: Folder for the training's checkpoints.
        progress: Receives the progress.

    Returns:
        The model without them, and the account.

    Raises:
        InputError: There is no data, nothing to remove, or the budget can't be reached.
    """
    from edgepress.compress.structure.pruning import StructuredRun, rounds_of

    if dataset is None:
        raise InputError(
            "structure layers measures what each layer is worth, and no data is given",
            "give data, or structure channels",
        )
    _check_schedule(spec)
    spec = spec.model_copy(update={"criterion": "damage"})
    run = StructuredRun(model, dataset, spec, seed, state_dir, progress or Silent())
    before = run.figures(model)
    small, removed = model, []
    for number, part in enumerate(rounds_of(spec, before.macs, before.params), 1):
        with run.timed("prune"):
            chosen = choose_blocks(small, part, dataset, seed, run.progress)
            surgery = rebuild_without(find_channels(small), chosen.replaced)
        removed += [Removed(b.name, b.layers, len(b.layers), len(b.layers)) for b in chosen.blocks]
        small = run.finish(surgery, part, "recover" if spec.steps == 1 else f"round-{number}")
    return run.result(small, before, tuple(removed), ())


def _check_schedule(spec: PruneSpec) -> None:
    if spec.schedule not in ("one-shot", "iterative"):
        raise InputError(
            f"schedule {spec.schedule} is not for structure layers: a layer goes at once",
            "give schedule one-shot, or iterative with steps",
        )
    if spec.schedule == "iterative" and spec.steps == 1:
        raise InputError("schedule iterative has one step only", "give steps, such as 3")


@dataclass(frozen=True)
class Chosen:
    """Blocks to leave out.

    Attributes:
        blocks: In the order in which they were chosen.
        replaced: By identity of a tensor, what takes its place.
    """

    blocks: tuple[Block, ...]
    replaced: Mapping[int, Any]


def choose_blocks(
    model: Any, spec: PruneSpec, dataset: Dataset, seed: int, progress: Progress
) -> Chosen:
    """Blocks to leave out: each time the one that costs the least loss for what it saves.

    Every block is measured once on the whole model. From then on only the one that seems cheapest
    is measured again, beside those that went before it, and taken if it still is the cheapest.

    Raises:
        InputError: There is no block, or the budget can't be reached.
    """
    blocks = find_blocks(model, spec.protect)
    if not blocks:
        raise InputError(
            f"model '{model.name}' has no residual branch or layer that can be left out whole",
            "prune channels",
        )
    search = _Search(model, blocks, spec, _judge(model, len(blocks), spec, dataset, seed))
    return search.run(progress)


def _judge(model: Any, blocks: int, spec: PruneSpec, dataset: Dataset, seed: int) -> _Judge:
    split = dataset.train or dataset.val or dataset.report_split
    macs, _ = Ledger(model).left({})
    count = max(_FEWEST, int(_MOST_MACS / max(macs * blocks, 1)))
    count = affordable(model, min(spec.calibration_samples, count))
    samples, targets = split.sample(count, seed)
    return _Judge(model, feed(model, samples), targets, dataset.task)


class _Search:
    """One greedy choice of blocks.

    Args:
        model: The model.
        blocks: What can go.
        spec: The budget.
        judge: Measures the loss.
    """

    def __init__(self, model: Any, blocks: list[Block], spec: PruneSpec, judge: _Judge) -> None:
        self._blocks = blocks
        self._spec = spec
        self._judge = judge
        self._ledger = Ledger(model)
        self._full = self._amount({}, 0)
        self._loss = judge.loss({})
        self._chosen: list[Block] = []
        self._replaced: dict[int, Any] = {}

    def run(self, progress: Progress) -> Chosen:
        """The blocks that go, as few as meet the budget."""
        spec, full = self._spec, self._full
        target = spec.target_macs or spec.target_params
        limit = full * (1 - (spec.sparsity or 0.0))
        if target is not None:
            limit = limit_of(target, full)
        waiting: list[tuple[float, int]] = []
        for number in range(len(self._blocks)):
            progress.step(number, len(self._blocks), "judging blocks")
            self._push(waiting, number)
        while self._amount(self._replaced, len(self._chosen)) > limit + 1e-9:
            cheapest = self._cheapest(waiting)
            if cheapest is None:
                raise self._refusal(limit)
            block = self._blocks[cheapest]
            self._chosen.append(block)
            self._replaced[id(block.tensor)] = block.stand_in
            self._loss = self._judge.loss(self._replaced)
            progress.step(len(self._chosen), len(self._blocks), "blocks left out")
        return Chosen(tuple(self._chosen), self._replaced)

    def _cheapest(self, waiting: list[tuple[float, int]]) -> int | None:
        """The block that is cheapest beside those chosen; measured again until that is sure."""
        while waiting:
            _, number = heapq.heappop(waiting)
            if not self._push(waiting, number):
                continue
            if waiting[0][1] == number:
                heapq.heappop(waiting)
                return number
        return None

    def _push(self, waiting: list[tuple[float, int]], number: int) -> bool:
        """Measure a block beside those chosen and queue it; False where it is gone already."""
        block = self._blocks[number]
        with_it = {**self._replaced, id(block.tensor): block.stand_in}
        if id(block.tensor) not in self._ledger.tensors(self._replaced):
            return False
        if resolve(block.stand_in, self._replaced) is block.tensor:
            return False
        count = len(self._chosen)
        saved = self._amount(self._replaced, count) - self._amount(with_it, count + 1)
        if saved <= 0:
            return False
        damage = max(self._judge.loss(with_it) - self._loss, 1e-9)
        heapq.heappush(waiting, (damage / saved, number))
        return True

    def _amount(self, replaced: Mapping[int, Any], gone: int) -> float:
        """What the budget counts, with some blocks gone."""
        if self._spec.sparsity is not None:
            return float(len(self._blocks) - gone)
        macs, params = self._ledger.left(replaced)
        return float(macs if self._spec.target_macs is not None else params)

    def _refusal(self, limit: float) -> InputError:
        left = self._amount(self._replaced, len(self._chosen))
        return InputError(
            f"leaving out every block that can go keeps {left / self._full:.2f},"
            f" and {limit / self._full:.2f} is asked for",
            "ask for more, or prune channels",
        )
