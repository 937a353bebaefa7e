"""Unfreezing by experiment: block after block from the output side, judged on validation data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.compress.data import Dataset, evaluate, open_data
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.progress import Progress, Silent
from edgepress.compress.kernel.registry import near_names
from edgepress.compress.models import load
from edgepress.compress.models.rebuilding.copying import copy_flags, copy_model
from edgepress.compress.specs.construction import make_spec
from edgepress.compress.specs.recipe import FinetuneSpec
from edgepress.compress.specs.signatures import takes_options
from edgepress.compress.specs.training import NOT_OF_SEARCH
from edgepress.compress.training.curves import save_figure
from edgepress.compress.training.finetuning import fit_unfrozen
from edgepress.compress.training.freezing.depths import blocks
from edgepress.compress.training.freezing.select import unfreeze

if TYPE_CHECKING:
    import keras

    from edgepress.compress.typing import DataLike, ModelLike

_PATIENCE = 2


@dataclass(frozen=True)
class SearchStep:
    """One trial.

    Attributes:
        name: "1 block", "2 blocks", … or a strategy's name.
        unfrozen: Paths of the layers that were trained.
        trainable_params: Weights that training could change.
        value: The metric on validation data.
        seconds: Wall time of its training.
    """

    name: str
    unfrozen: tuple[str, ...]
    trainable_params: int
    value: float
    seconds: float


@dataclass(frozen=True)
class UnfreezeSearch:
    """What a search found.

    Attributes:
        model: The best model.
        best: Its step.
        steps: All trials in order.
        metric: The metric by name.
        split: Split of `before` and `after`; "val" is the one the choice was made on.
        before: The metric before.
        after: The metric of `model`.
    """

    model: Any
    best: SearchStep
    steps: tuple[SearchStep, ...]
    metric: str
    split: str
    before: float
    after: float

    def to_json(self) -> dict[str, Any]:
        """All but the model, by name."""
        steps = [{**vars(s), "unfrozen": list(s.unfrozen)} for s in self.steps]
        shown = {k: v for k, v in vars(self).items() if k not in ("model", "best", "steps")}
        return {**shown, "best": self.best.name, "steps": steps}


@dataclass(frozen=True)
class _Trials:
    """What all trials share."""

    dataset: Dataset
    spec: FinetuneSpec
    seed: int
    state_dir: Path | None
    progress: Progress

    def run(
        self, start: keras.Model, name: str, paths: Sequence[str]
    ) -> tuple[SearchStep, keras.Model]:
        """Train a copy of a model with some layers unfrozen; judge it on validation data."""
        model = copy_model(start)
        unfrozen = unfreeze(model, paths, self.spec.train_batchnorm)
        trainable = sum(int(v.value.shape.num_elements()) for v in model.trainable_variables)
        folder = None if self.state_dir is None else self.state_dir / name.replace(" ", "-")
        self.progress.stage(f"unfreeze {name}")
        history = fit_unfrozen(
            model,
            self.dataset,
            self.spec,
            seed=self.seed,
            state_dir=folder,
            progress=self.progress,
        )
        assert self.dataset.val is not None
        value = evaluate(model, self.dataset.val, self.dataset.task)
        return SearchStep(name, unfrozen, trainable, value, history.seconds), model


@takes_options(FinetuneSpec, skip=NOT_OF_SEARCH)
def unfreeze_search(
    model: ModelLike,
    data: DataLike | None,
    *,
    spec: FinetuneSpec | None = None,
    strategies: Sequence[str] | str = (),
    seed: int = 0,
    state_dir: Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> UnfreezeSearch:
    """Find how deep to unfreeze a model; the given one stays as it is.

    First the last block is trained, then one block more at a time, each step from the best model so
    far and for `epochs` epochs. The search ends when two steps in a row bring nothing.

    Args:
        model: A Keras model, or what `load` takes.
        data: What `open_data` takes; needs a validation split.
        strategies: Compare these instead, each from the given model: "top" (the last block),
            "middle", "bottom" (the first block), "all".
        seed: Makes the search repeatable.
        state_dir: Folder that a stopped search can be resumed from.
        progress: Is told of every step.
        spec: The options as a `FinetuneSpec`; those that are given by name change it.
        **options: Fields of `FinetuneSpec`, of each step.

    Returns:
        The best model by the validation metric (of equals the one with fewer trainable weights),
        and all trials.

    Raises:
        InputError: An option can't be used, or the data has no validation split.
        Stopped: The user interrupted.

    Source: the gradual unfreezing of Howard and Ruder, "Universal language model fine-tuning"
        (ACL 2018), with the depth chosen by validation.
    """
    spec = make_spec(FinetuneSpec, options, base=spec)
    original = load(model)
    dataset = open_data(data, original, seed)
    if dataset.val is None:
        raise InputError("the search needs a validation split to select by", "add x_val, y_val")
    trials = _Trials(dataset, spec, seed, state_dir, progress or Silent())
    names = (
        [s.strip() for s in strategies.split(",")] if isinstance(strategies, str) else strategies
    )
    tried = _compare(original, names, trials) if names else _deepen(original, trials)
    found = list(tried)
    best, chosen = found[_best([step for step, _ in found], dataset)]
    copy_flags(original, chosen)
    split = dataset.report_split
    return UnfreezeSearch(
        model=chosen,
        best=best,
        steps=tuple(step for step, _ in found),
        metric=dataset.task.metric,
        split=split.name,
        before=evaluate(original, split, dataset.task),
        after=evaluate(chosen, split, dataset.task),
    )


def _best(steps: Sequence[SearchStep], dataset: Dataset) -> int:
    sign = 1 if dataset.task.higher_is_better else -1
    return max(
        range(len(steps)), key=lambda i: (sign * steps[i].value, -steps[i].trainable_params, -i)
    )


def _deepen(original: keras.Model, trials: _Trials) -> Iterator[tuple[SearchStep, keras.Model]]:
    """Block after block from the output side, each step from the best model so far."""
    units = blocks(original)
    start, found = original, []
    for depth in range(1, len(units) + 1):
        paths = [path for block in units[-depth:] for path in block]
        step, model = trials.run(start, f"{depth} block{'s' * (depth > 1)}", paths)
        found.append(step)
        yield step, model
        best = _best(found, trials.dataset)
        if best == len(found) - 1:
            start = model
        if len(found) - 1 - best >= _PATIENCE:
            return


def _compare(
    original: keras.Model, names: Sequence[str], trials: _Trials
) -> Iterator[tuple[SearchStep, keras.Model]]:
    units = blocks(original)
    middle = units[len(units) // 3 : max(len(units) // 3 + 1, -(-2 * len(units) // 3))]
    parts = {"top": units[-1:], "middle": middle, "bottom": units[:1], "all": units}
    for name in names:
        if name not in parts:
            raise InputError(f"unknown strategy '{name}'", near_names(name, parts))
        yield trials.run(original, name, [path for block in parts[name] for path in block])


def draw_search(found: UnfreezeSearch, path: Path | str) -> Path:
    """Draw metric, trainable weights and seconds of each trial.

    Args:
        found: The search.
        path: A `.png`, `.svg` or `.pdf` file; replaced where it exists.

    Returns:
        The path.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    names = [step.name for step in found.steps]
    columns = {
        f"{found.metric} (validation)": [s.value for s in found.steps],
        "trainable weights": [s.trainable_params for s in found.steps],
        "seconds": [s.seconds for s in found.steps],
    }
    for axes, (title, values) in zip(figure.subplots(1, 3), columns.items(), strict=True):
        colours = ["C1" if name == found.best.name else "C0" for name in names]
        axes.bar(names, values, color=colours)
        axes.set_title(title)
        axes.tick_params(axis="x", rotation=45)
    figure.axes[0].set_ylim(*_around([s.value for s in found.steps]))
    return save_figure(figure, Path(path))


def _around(values: Sequence[float]) -> tuple[float, float]:
    """Bounds that show the differences between values."""
    low, high = min(values), max(values)
    margin = max(high - low, 0.02 * abs(high), 1e-9)
    return low - margin, high + 0.3 * margin
