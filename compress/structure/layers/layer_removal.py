"""Removing whole blocks of layers, those first whose loss is measured to cost the least."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.data import Dataset
from edgepress.compress.errors import InputError
from edgepress.compress.graph import graph_of, needed, resolve
from edgepress.compress.kernel.context import Context, make_context
from edgepress.compress.kernel.progress import Progress
from edgepress.compress.specs.amounts import limit_of
from edgepress.compress.specs.pruning import LayersSpec
from edgepress.compress.specs.pruning_result import PruneResult, Removed
from edgepress.compress.structure.layers.blocks import Block, find_blocks, without
from edgepress.compress.structure.planning.allocate import TOLERANCE
from edgepress.compress.structure.surgery.surgery import rebuild
from edgepress.compress.structure.tracing.groups import Channels, find_channels
from edgepress.compress.structure.tracing.replay import affordable, feed
from edgepress.compress.structure.tracing.rewired_graph import Remains

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# Multiply-accumulates that one look at all blocks may take, and fewest samples for it.
_MOST_MACS = 3e12
_FEWEST = 64


@dataclass(eq=False)
class _Judge:
    """Measures the loss of what is left of a model."""

    inputs: list[Any]
    targets: Any
    task: Any

    def loss(self, remains: Remains) -> float:
        """Loss on the samples with some tensors replaced, and channels that nothing reads."""
        import keras

        from edgepress.compress.structure.importance.gradients import task_loss

        graph = graph_of(remains.channels.model)
        with keras.StatelessScope(state_mapping=_silenced(remains)):
            results = self._run(graph, self.inputs, remains.replaced)
        return float(np.mean(task_loss(self.task, self.targets, results)))

    def _run(
        self, graph: keras.Model, inputs: list[tf.Tensor], replaced: Mapping[int, keras.KerasTensor]
    ) -> list[tf.Tensor]:
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


def _silenced(remains: Remains) -> list[tuple[keras.Variable, tf.Tensor]]:
    """The weights that read channels which go, with their rows at zero."""
    import keras

    values: dict[int, tuple[Any, Any]] = {}
    for binding, units in remains.channels.bound:
        gone = ~remains.alive[units]
        if binding.role == "uses" and gone.any():
            weight = binding.weight
            _, value = values.setdefault(id(weight), (weight, np.array(weight.value.numpy())))
            value[(slice(None),) * binding.axis + (gone,)] = 0
    return [(w, keras.ops.convert_to_tensor(value)) for w, value in values.values()]


def prune_layers(
    model: keras.Model,
    dataset: Dataset | None,
    spec: LayersSpec,
    context: Context | None = None,
    **fields: Any,
) -> PruneResult:
    """Remove whole residual branches and shape-preserving layers, the least missed ones first.

    Args:
        model: A built Functional or Sequential model; it stays as it is.
        dataset: Damage is measured on it.
        spec: Budget, steps and recovery. `sparsity` is the share of the blocks that go.
        context: What travels with them.
        **fields: Those of a `Context`, where none is given.

    Returns:
        The model without them, and the account.

    Raises:
        InputError: There is no data, nothing to remove, or the budget can't be reached.
    """
    from edgepress.compress.structure.structured_run import StructuredRun, rounds_of

    spec.check(dataset is not None)
    assert dataset is not None
    context = make_context(context, fields)
    spec = spec.model_copy(update={"criterion": "damage"})
    run = StructuredRun(model, dataset, spec, context)
    before = run.figures(model)
    small, removed = model, []
    for number, part in enumerate(rounds_of(spec, before.macs, before.params), 1):
        with run.timed("prune"):
            channels = find_channels(small, part.protect)
            chosen = choose_blocks(channels, part, dataset, context.seed, context.progress)
            surgery = rebuild(without(channels, chosen.blocks))
        run.notes += [chosen.note] if chosen.note else []
        removed += [Removed(b.name, b.layers, len(b.layers), len(b.layers)) for b in chosen.blocks]
        small = run.finish(surgery, part, "recover" if spec.steps == 1 else f"round-{number}")
    return run.result(small, before, tuple(removed), ())


@dataclass(frozen=True)
class Chosen:
    """Blocks to leave out.

    Attributes:
        blocks: In the order in which they were chosen.
        note: Why far more goes than was asked for, or empty.
    """

    blocks: tuple[Block, ...]
    note: str = ""


def choose_blocks(
    channels: Channels, spec: LayersSpec, dataset: Dataset, seed: int, progress: Progress
) -> Chosen:
    """Blocks to leave out: each time the one that costs the least loss for what it saves.

    Every block is measured once on the whole model. From then on only the one that seems cheapest
    is measured again, beside those that went before it, and taken if it still is the cheapest.

    Raises:
        InputError: There is no block, or the budget can't be reached.
    """
    blocks = find_blocks(channels, spec.protect)
    if not blocks:
        raise InputError(
            f"model '{channels.model.name}' has no residual branch or layer that can be left out"
            " whole",
            "prune channels",
        )
    judge = _judge(channels, len(blocks), spec, dataset, seed)
    return _Search(channels, blocks, spec, judge).run(progress)


def _judge(
    channels: Channels, blocks: int, spec: LayersSpec, dataset: Dataset, seed: int
) -> _Judge:
    split = dataset.train or dataset.val or dataset.report_split
    macs, _ = without(channels, ()).cost
    count = max(_FEWEST, int(_MOST_MACS / max(macs * blocks, 1)))
    count = affordable(channels.model, min(spec.calibration_samples, count))
    samples, targets = split.sample(count, seed)
    return _Judge(feed(channels.model, samples), targets, dataset.task)


class _Search:
    """One greedy choice of blocks.

    Args:
        channels: The model's units.
        blocks: What can go.
        spec: The budget.
        judge: Measures the loss.
    """

    def __init__(
        self, channels: Channels, blocks: list[Block], spec: LayersSpec, judge: _Judge
    ) -> None:
        self._channels = channels
        self._blocks = blocks
        self._spec = spec
        self._judge = judge
        # The same few blocks are looked at again and again, in the same order.
        self._remains: dict[tuple[int, ...], Remains] = {}
        self._losses: dict[tuple[int, ...], float] = {}
        self._full = self._amount([])
        self._limit = self._full * (1 - (spec.sparsity or 0.0))
        target = spec.target_macs or spec.target_params
        if target is not None:
            self._limit = limit_of(target, self._full)
        self._chosen: list[Block] = []
        self._loss = self._loss_of([])

    def run(self, progress: Progress) -> Chosen:
        """The blocks that go, as few as meet the budget."""
        waiting: list[tuple[float, int]] = []
        for number in range(len(self._blocks)):
            progress.step(number, len(self._blocks), "judging blocks")
            self._push(waiting, number)
        while self._excess(self._chosen) > 0:
            cheapest = self._cheapest(waiting)
            if cheapest is None:
                raise self._refusal()
            self._chosen.append(self._blocks[cheapest])
            self._loss = self._loss_of(self._chosen)
            progress.step(len(self._chosen), len(self._blocks), "blocks left out")
        return self._nearest()

    def _nearest(self) -> Chosen:
        """The blocks chosen, or others that leave more and aren't missed more.

        One more block may make several of them needless; what is left then is nearer to the budget.
        """
        best, least = self._chosen, self._loss
        lowest = self._amount(best)
        dearer: list[tuple[float, float, list[Block]]] = []
        for extra in (None, *(b for b in self._blocks if b not in self._chosen)):
            tried = self._necessary(extra)
            left = 0.0 if tried is None else self._amount(tried)
            if tried is None or left <= lowest or self._excess(tried) > 0:
                continue
            loss = self._loss_of(tried)
            if loss <= least + 1e-9:
                best, least, lowest = tried, loss, left
            else:
                dearer.append((loss, left, tried))
        return Chosen(tuple(best), self._overshoot(lowest, least, dearer))

    def _overshoot(
        self, lowest: float, least: float, dearer: Sequence[tuple[float, float, list[Block]]]
    ) -> str:
        """What is to be said where far less is left than was asked for, though more could be."""
        nearer = [choice for choice in dearer if choice[1] > lowest]
        if lowest >= self._limit * (1 - TOLERANCE) or not nearer:
            return ""
        loss, left, blocks = min(nearer, key=lambda choice: choice[0])
        return (
            f"{lowest / self._full:.2f} is left where {self._limit / self._full:.2f} was asked for:"
            f" leaving out {', '.join(b.name for b in blocks)} instead leaves"
            f" {left / self._full:.2f}, but the loss rises to {loss:.3g}, not {least:.3g}"
        )

    def _necessary(self, extra: Block | None) -> list[Block] | None:
        """The blocks chosen and one more without those that the budget doesn't need then."""
        chosen = [*self._chosen, *([] if extra is None else [extra])]
        if extra is not None and not self._can_go(extra):
            return None
        for block in sorted(self._chosen, key=lambda b: -self._saved(b)):
            fewer = [b for b in chosen if b is not block]
            if self._excess(fewer) <= 0 and self._without(fewer).holds():
                chosen = fewer
        return chosen

    def _saved(self, block: Block) -> int:
        return block.macs if self._spec.target_macs is not None else block.params

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
        with_it = [*self._chosen, block]
        if not self._can_go(block):
            return False
        # What goes beyond the budget is worth nothing.
        before, after = self._excess(self._chosen), self._excess(with_it)
        saved = before - max(after, 0.0)
        if saved <= 0:
            return False
        damage = max(self._loss_of(with_it) - self._loss, 1e-9)
        heapq.heappush(waiting, (damage / saved, number))
        return True

    def _can_go(self, block: Block) -> bool:
        """Whether a block is still there, and the model holds without it too.

        Of a sum either side can go, not both. A stand-in must not lead back to its block.
        """
        now = self._without(self._chosen)
        if id(block.tensor) not in now.tensors:
            return False
        if (
            block.replacement is not None
            and resolve(block.replacement, now.replaced) is block.tensor
        ):
            return False
        return self._without([*self._chosen, block]).holds()

    def _without(self, blocks: Sequence[Block]) -> Remains:
        key = tuple(map(id, blocks))
        if key not in self._remains:
            self._remains[key] = without(self._channels, blocks)
        return self._remains[key]

    def _loss_of(self, blocks: Sequence[Block]) -> float:
        """The loss with some blocks gone."""
        key = tuple(map(id, blocks))
        if key not in self._losses:
            self._losses[key] = self._judge.loss(self._without(blocks))
        return self._losses[key]

    def _excess(self, blocks: Sequence[Block]) -> float:
        """How far the budget is exceeded, with some blocks gone; 0 or less where it is met."""
        return self._amount(blocks) - self._limit - 1e-9

    def _amount(self, blocks: Sequence[Block]) -> float:
        """What the budget counts, with some blocks gone."""
        if self._spec.sparsity is not None:
            return float(len(self._blocks) - len(blocks))
        macs, params = self._without(blocks).cost
        return float(macs if self._spec.target_macs is not None else params)

    def _refusal(self) -> InputError:
        left = self._amount(self._chosen)
        return InputError(
            f"leaving out every block that can go keeps {left / self._full:.2f},"
            f" and {self._limit / self._full:.2f} is asked for",
            "ask for more, or prune channels",
        )
