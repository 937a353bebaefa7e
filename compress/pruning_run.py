"""What pruning reports: a model in numbers, and a run's wall times, history and remarks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgepress.compress.data import Dataset, figures
from edgepress.compress.kernel.context import Context
from edgepress.compress.kernel.figures import OutputMetric
from edgepress.compress.kernel.files import COST_FILE, write_json
from edgepress.compress.specs.pruning_result import ModelFigures, Uncounted
from edgepress.compress.specs.recipe import PruneSpec, TrainSpec

if TYPE_CHECKING:
    import keras

# Trainings that are the only one of a pruning, or its last.
_LAST = ("recover", "gradual", "moving")


@dataclass(eq=False)
class PruningRun:
    """One pruning, whatever its structure: what it is given, and what it tells afterwards.

    Attributes:
        source: The model that was given; it stays as it is, and teaches.
        dataset: What is trained and measured on, or None.
        spec: What is removed, and the training.
        context: Seed, folder for the trainings' checkpoints, progress and instruments.
        seconds: Wall time by phase.
        history: Training history by epoch, over all trainings.
        notes: Remarks for the user.
    """

    source: keras.Model
    dataset: Dataset | None
    spec: PruneSpec
    context: Context
    seconds: dict[str, float] = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the wall time of a block to a phase."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - begin

    def fit(
        self,
        model: keras.Model,
        training: TrainSpec,
        name: str,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        *,
        optimizer: keras.Optimizer | None = None,
        remarks: bool = True,
    ) -> None:
        """Train a model in place and take the history over.

        Args:
            model: What is trained.
            training: How.
            name: Folder of the checkpoints, within the run's.
            callbacks: Of the training.
            optimizer: Whose state it goes on from, or None.
            remarks: Whether what the training remarks is for the user: where it is a recovery,
                and not one under which the model shrinks.
        """
        from edgepress.compress.cost import layer_costs
        from edgepress.compress.models.own_training import train_like
        from edgepress.compress.training.training_run import fit

        assert self.dataset is not None
        train_like(model, self.source)
        folder = self.context.state_dir
        if folder is not None:
            told = {"macs": sum(cost.macs for cost in layer_costs(model))}
            write_json(folder / name / COST_FILE, told)
        with self.timed("recover"):
            history = fit(
                model,
                self.dataset,
                _logged(training, name),
                seed=self.context.seed,
                state_dir=None if folder is None else folder / name,
                callbacks=callbacks,
                teacher=self.source if self.spec.recover.distill else None,
                progress=self.context.progress,
                optimizer=optimizer,
                prompt=True,
            )
        for key, values in history.epochs.items():
            self.history.setdefault(key, []).extend(values)
        if remarks:
            self.notes.extend(history.notes)


def _logged(training: TrainSpec, name: str) -> TrainSpec:
    """A training whose logs are its own where others follow it."""
    update = {}
    for field_name in ("log_csv", "log_tensorboard"):
        path = getattr(training, field_name)
        if path is not None and name not in _LAST:
            update[field_name] = str(Path(path).with_stem(f"{Path(path).stem}-{name}"))
    return training.model_copy(update=update)


def model_figures(model: keras.Model, dataset: Dataset | None = None) -> ModelFigures:
    """Parameters, MACs, bytes, and with data the task's metric on the split for reports.

    Args:
        model: A built Keras model.
        dataset: What the metric is measured on, or None.

    Returns:
        The figures.
    """
    from edgepress.compress.cost import layer_costs, uncounted
    from edgepress.compress.counting.parameters import count_params
    from edgepress.compress.models.writing import saved_bytes

    costs = layer_costs(model)
    metric = value = split = None
    rows: tuple[OutputMetric, ...] = ()
    if dataset is not None:
        metric, split = dataset.task.metric, dataset.report_split.name
        rows = figures(model, dataset.report_split, dataset.task)
        value = dataset.task.headline_of(rows)
    return ModelFigures(
        params=count_params(model),
        macs=sum(cost.macs for cost in costs),
        bytes=partial(saved_bytes, model),
        metric=metric,
        value=value,
        split=split,
        metrics=rows,
        uncounted=uncounted(costs),
    )


def uncounted_notes(found: Sequence[Uncounted], aimed: bool = False) -> list[str]:
    """What the figures don't say of MACs.

    Args:
        found: Layers whose MACs aren't all counted.
        aimed: Whether the MACs are what was aimed at.
    """
    notes = [one.line() for one in found]
    if notes and aimed:
        layers = ", ".join(dict.fromkeys(f"'{one.layer}'" for one in found))
        notes.append(
            f"target_macs is held for what is counted: it can't see the rest of {layers};"
            " give target_latency to aim at what is measured"
        )
    return notes
