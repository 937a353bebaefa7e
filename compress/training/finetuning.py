"""Fine-tuning as one call: copy, unfreeze, train, account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.compress.data import Dataset, open_data
from edgepress.compress.data.readers.storage import Limits
from edgepress.compress.kernel.progress import Progress
from edgepress.compress.models import load
from edgepress.compress.models.own_training import own_training, refuse_own_step, train_like
from edgepress.compress.models.rebuilding.copying import copy_flags, copy_model
from edgepress.compress.specs.construction import make_spec
from edgepress.compress.specs.recipe import FinetuneSpec
from edgepress.compress.specs.signatures import takes_options
from edgepress.compress.training.cache.feature_cache import cache_features
from edgepress.compress.training.diagnosis import diagnose
from edgepress.compress.training.freezing.select import unfreeze
from edgepress.compress.training.loop.history import History
from edgepress.compress.training.loop.preserved_sparsity import held_weights, holding_notes
from edgepress.compress.training.loop.user_callbacks import callbacks_of
from edgepress.compress.training.loop.weight_updates import block_factors
from edgepress.compress.training.optimization.schedules import schedule_of
from edgepress.compress.training.training_run import fit

if TYPE_CHECKING:
    import keras

    from edgepress.compress.typing import DataLike, ModelLike


@dataclass(frozen=True)
class FinetuneResult:
    """A fine-tuned model and the account of it.

    Attributes:
        model: The new Keras model; what is trainable of it is what was trainable of the old one.
        history: The training.
        unfrozen: Paths of the layers that were trained, from input to output.
    """

    model: Any
    history: History
    unfrozen: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All but the model, by name."""
        history = self.history
        return {
            "metric": history.metric,
            "split": history.split,
            "before": history.before,
            "after": history.after,
            "metrics": [vars(row) for row in history.metrics],
            "unfrozen": list(self.unfrozen),
            "history": dict(history.epochs),
            "seconds": history.seconds,
            "best_epoch": history.best_epoch,
            "stopped_early": history.stopped_early,
            "lr": history.lr,
            "diverged": history.diverged,
            "diagnosis": [
                vars(d)
                for d in diagnose(
                    history.epochs, history.diverged, history.at_chance, history.collapsed
                )
            ],
            "notes": list(history.notes),
        }


@takes_options(FinetuneSpec)
def finetune(
    model: ModelLike,
    data: DataLike,
    *,
    spec: FinetuneSpec | None = None,
    teacher: ModelLike | None = None,
    seed: int = 0,
    state_dir: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback | str] = (),
    progress: Progress | None = None,
    **options: Any,
) -> FinetuneResult:
    """Fine-tune a copy of a model; the given one stays as it is.

    Trains in this process: where native code crashes, it ends the process. The command line trains
    in a child process and goes on by itself.

    Args:
        model: A Keras model, or what `load` takes.
        data: What `open_data` takes.
        teacher: Model (or what `load` takes) whose outputs are learned beside the labels.
        seed: Makes the run repeatable.
        state_dir: Folder that a stopped run can be resumed from.
        callbacks: Keras callbacks for the training, or `file.py:object` references.
        progress: Is told of every step.
        spec: The options as a `FinetuneSpec`; those that are given by name change it.
        **options: Fields of `FinetuneSpec`.

    Returns:
        The new model, the history, and what was unfrozen.

    Raises:
        InputError: An option, the data or an unfreeze spec can't be used, or the loss became NaN
            in the first epoch.
        Stopped: The user interrupted.

    Example:
        >>> tuned = finetune(model, "data.npz", unfreeze=["top:2"], lr=1e-3)  # doctest: +SKIP
    """
    spec = make_spec(FinetuneSpec, options, base=spec)
    return finetune_as(
        spec,
        model,
        data,
        teacher=teacher,
        seed=seed,
        state_dir=state_dir,
        callbacks=callbacks,
        progress=progress,
    )


def finetune_as(
    spec: FinetuneSpec,
    model: ModelLike,
    data: DataLike,
    *,
    teacher: ModelLike | None = None,
    seed: int = 0,
    state_dir: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback | str] = (),
    progress: Progress | None = None,
) -> FinetuneResult:
    """Fine-tune a copy of a model as a checked spec says; see `finetune`.

    The copy's layers are trainable afterwards as the given model's are, so that what comes next is
    not bound by what was frozen here.
    """
    schedule_of(spec)  # A wrong name is said before the data is measured.
    original = load(model)
    refuse_own_step(original)
    taught_by = teacher if teacher is not None else spec.teacher
    taught_by = None if taught_by is None else load(taught_by)
    dataset = open_data(data, original, seed, taught_by)
    tuned = copy_model(original)
    unfrozen = unfreeze(tuned, spec.unfreeze, spec.train_batchnorm)
    history = fit_unfrozen(
        tuned,
        dataset,
        spec,
        seed=seed,
        state_dir=state_dir,
        callbacks=callbacks,
        teacher=taught_by,
        progress=progress,
    )
    copy_flags(original, tuned)
    train_like(tuned, original)
    return FinetuneResult(tuned, history, unfrozen)


def fit_unfrozen(
    model: keras.Model,
    dataset: Dataset,
    spec: FinetuneSpec,
    *,
    seed: int,
    state_dir: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback | str] = (),
    teacher: keras.Model | None = None,
    progress: Progress | None = None,
) -> History:
    """`fit`, with the features of the frozen part computed once where that is possible."""
    cached = None
    callbacks = callbacks_of([*spec.callbacks, *callbacks])
    factors = block_factors(model, spec.lr_decay_per_block)
    # Callbacks expect the whole model, a teacher and a loss of its own the samples themselves.
    if spec.feature_cache and not callbacks and teacher is None and own_training(model) is None:
        limits = Limits(spec.cache_memory, spec.cache_disk)
        cached = cache_features(model, dataset, spec.epochs, progress, limits)
    trained, seen = cached or (model, dataset)
    held = held_weights(model.trainable_variables, spec)
    history = fit(
        trained,
        seen,
        spec,
        factors=factors,
        seed=seed,
        state_dir=state_dir,
        callbacks=callbacks,
        teacher=teacher,
        progress=progress,
        prompt=True,
    )
    return replace(history, notes=(*history.notes, *holding_notes(held)))
