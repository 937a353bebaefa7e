"""How much the metric falls when one group alone is pruned."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.data import Dataset
from edgepress.compress.kernel.progress import Progress, Silent
from edgepress.compress.models.rebuilding.copying import copy_model
from edgepress.compress.specs.pruning import ChannelsSpec
from edgepress.compress.structure.budgets.measured_targets import Budget
from edgepress.compress.structure.planning.resolving import resolved
from edgepress.compress.structure.planning.scoring import score_groups
from edgepress.compress.structure.tracing.groups import Alive, Channels, find_channels

if TYPE_CHECKING:
    from edgepress.compress.typing import DataLike, ModelLike

RATIOS = (0.25, 0.5, 0.75)
SAMPLES = 1000


@dataclass(frozen=True)
class SensitivityRow:
    """One group at one ratio.

    Attributes:
        group: Its name.
        layers: The layers that make its channels.
        ratio: Share of its channels that is removed.
        value: The metric then, without repair or recovery.
        drop: How much worse that is than the whole model; see `Task.drop`.
        macs: Share of the model's MACs that this removal saves.
    """

    group: str
    layers: tuple[str, ...]
    ratio: float
    value: float
    drop: float
    macs: float


@dataclass(frozen=True)
class Sensitivity:
    """How much the metric falls, group by group.

    Attributes:
        metric: The metric.
        split: Where it was measured; never the test split, since choices follow from it.
        samples: On how many samples.
        before: The whole model's value.
        rows: Groups in the order of the model, ratios ascending.
    """

    metric: str
    split: str
    samples: int
    before: float
    rows: tuple[SensitivityRow, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return dataclasses.asdict(self)

    def plot(self, path: Path) -> None:
        """Draw the metric over the ratio, one line for each group, the steepest ones labelled."""
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(figsize=(8, 5))
        by_group: dict[str, list[SensitivityRow]] = {}
        for row in self.rows:
            by_group.setdefault(row.group, []).append(row)
        steep = sorted(by_group, key=lambda name: -max(r.drop for r in by_group[name]))[:10]
        for name, rows in by_group.items():
            ratios, values = (
                [0.0, *(r.ratio for r in rows)],
                [self.before, *(r.value for r in rows)],
            )
            label = name if name in steep else None
            axes.plot(ratios, values, marker="o", label=label, alpha=1.0 if label else 0.3)
        axes.set_xlabel("share of the group's channels removed")
        axes.set_ylabel(f"{self.metric} ({self.split}, {self.samples} samples)")
        axes.legend(title="most sensitive", fontsize="small")
        figure.tight_layout()
        figure.savefig(path, dpi=120)
        plt.close(figure)


def sensitivity(
    model: ModelLike,
    data: DataLike | None,
    *,
    ratios: Sequence[float] = RATIOS,
    criterion: str = "auto",
    samples: int = SAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sensitivity:
    """Prune each channel group alone at several ratios and measure the metric.

    Nothing is built: what reads the removed channels is set to zero in one copy of the model, which
    gives the same outputs, and set back.

    Args:
        model: Keras model, or anything that `load` takes.
        data: Anything that `open_data` takes.
        ratios: Shares of each group to remove, between 0 and 1.
        criterion: Ranks the channels within a group.
        samples: Most samples to measure on.
        seed: Draws the samples.
        progress: Receives the progress.

    Returns:
        The table.

    Raises:
        InputError: The model or the data can't be opened, or the criterion is unknown.
    """
    from edgepress.compress.data import open_data
    from edgepress.compress.models import load

    model = load(model)
    dataset = open_data(data, model, seed)
    progress = progress or Silent()
    spec = resolved(ChannelsSpec(sparsity=0.5, criterion=criterion), dataset)
    channels = find_channels(model)
    budget = Budget(channels)
    scores = score_groups(channels, spec, dataset, budget, seed)
    bench = _Bench(channels, dataset, samples, seed)
    before, full = bench.value(channels.all_alive()), budget.macs(channels.all_alive())
    groups = [g for g in channels.groups if g.prunable and g.size > 1]
    rows = []
    for number, group in enumerate(groups):
        progress.step(number, len(groups), group.name)
        order = group.units[np.argsort(scores[group.name], kind="stable")]
        for ratio in sorted(ratios):
            alive = channels.all_alive()
            alive[order[: min(round(group.size * ratio), group.size - 1)]] = False
            value = bench.value(alive)
            drop = dataset.task.drop(before, value)
            saved = 1 - budget.macs(alive) / full
            rows.append(SensitivityRow(group.name, group.layers, ratio, value, drop, saved))
    return Sensitivity(dataset.task.metric, bench.split, bench.count, before, tuple(rows))


class _Bench:
    """Measures the metric of one copy of a model with some units silenced.

    Args:
        channels: The model's units.
        dataset: Where samples come from.
        samples: How many at most.
        seed: Draws them.
    """

    def __init__(self, channels: Channels, dataset: Dataset, samples: int, seed: int) -> None:
        import tensorflow as tf

        self._channels = channels
        self._task = dataset.task
        self._copy = copy_model(channels.model)
        pairs = zip(channels.model.weights, self._copy.weights, strict=True)
        self._twins = {id(old): new for old, new in pairs}
        split = dataset.val or dataset.train or dataset.report_split
        self.split = split.name
        inputs, self._targets = split.sample(samples, seed)
        self.count = len(next(iter(inputs.values())))
        single = len(inputs) == 1
        self._inputs = next(iter(inputs.values())) if single else inputs
        self._run = tf.function(lambda x: tf.nest.flatten(self._copy(x, training=False)))

    def value(self, alive: Alive) -> float:
        """The metric with the units that are alive."""
        changed = []
        for binding, units in self._channels.bound:
            gone = ~alive[units]
            if binding.role == "uses" and gone.any():
                weight = self._twins[id(binding.weight)]
                held = weight.numpy()
                silent = held.copy()
                silent[(slice(None),) * binding.axis + (gone,)] = 0
                changed.append((weight, held))
                weight.assign(silent)
        found = self._score()
        for weight, held in reversed(changed):
            weight.assign(held)
        return found

    def _score(self) -> float:
        import tensorflow as tf

        parts = []
        for start in range(0, self.count, 250):
            here = slice(start, start + 250)
            batch = tf.nest.map_structure(
                lambda x, s=here: tf.convert_to_tensor(x[s]), self._inputs
            )
            parts.append([o.numpy() for o in self._run(batch)])
        outputs = [np.concatenate(o) for o in zip(*parts, strict=True)]
        return float(self._task.score(outputs, self._targets))
