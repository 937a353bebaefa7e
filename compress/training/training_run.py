"""Training a model in place: for fine-tuning, and for recovery after pruning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgepress.compress.data import Dataset, Task, figures
from edgepress.compress.data.inferring.own_losses import NoLoss
from edgepress.compress.errors import InputError, Stopped
from edgepress.compress.kernel.figures import OutputMetric, compared
from edgepress.compress.kernel.files import content_key
from edgepress.compress.kernel.progress import Progress, Silent
from edgepress.compress.models.fingerprints import weights_hash
from edgepress.compress.models.own_training import own_training, refuse_own_step
from edgepress.compress.specs.notation import AUTO_RATE
from edgepress.compress.specs.recipe import TrainSpec
from edgepress.compress.training.chance import at_chance, chances_of, collapsed
from edgepress.compress.training.known_answers import with_known_answers
from edgepress.compress.training.loop.checkpoints import Checkpoints
from edgepress.compress.training.loop.class_weights import class_weights, positive_weights
from edgepress.compress.training.loop.distribution import Replicas, is_chief, strategy_of
from edgepress.compress.training.loop.history import History
from edgepress.compress.training.loop.loop import Conditions, Loop, refuse_diverged
from edgepress.compress.training.loop.own_loss import own_loss
from edgepress.compress.training.loop.steps import Objective
from edgepress.compress.training.loop.user_callbacks import check_callbacks
from edgepress.compress.training.loop.weight_updates import Factors
from edgepress.compress.training.lr_range import with_found_rate
from edgepress.compress.training.numerics.compute_type import computing_in, resolve_compute
from edgepress.compress.training.numerics.determinism import deterministic_operations
from edgepress.compress.training.numerics.fused_norm import fused_batch_norm
from edgepress.compress.training.optimization.optimizer_state import carries, slots_hash
from edgepress.compress.training.optimization.optimizers import OPTIMIZERS
from edgepress.compress.training.teacher.distillation import check_teacher
from edgepress.compress.training.teacher.feature_matching import recorders
from edgepress.compress.training.weight_checks import check_weights

if TYPE_CHECKING:
    import keras


def fit(
    model: keras.Model,
    dataset: Dataset,
    spec: TrainSpec,
    *,
    seed: int = 0,
    state_dir: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    teacher: keras.Model | None = None,
    progress: Progress | None = None,
    factors: Factors | None = None,
    optimizer: keras.Optimizer | None = None,
    prompt: bool = False,
) -> History:
    """Train what is trainable of a model, in place.

    The best epoch by the validation metric is kept (`restore_best`). With a `state_dir` the state
    is written after every epoch, and a call with the same arguments goes on from it to the very
    weights that an uninterrupted training gives.

    Args:
        model: A built Keras model that the caller owns.
        dataset: Opened for this model.
        spec: Epochs, optimizer, rate, schedule, ….
        seed: Draws order, augmentation and dropout.
        state_dir: Folder of the state, or None.
        callbacks: Keras callbacks. One with `state` and `restore` is resumed; one whose attribute
            `settled` is false keeps epochs from being the best.
        teacher: Model whose outputs are learned beside the labels, or None.
        progress: Is told of every step, with the time left.
        factors: What the rate of single weights is multiplied by, by their identity; see
            `block_factors`. None trains all at the same rate.
        optimizer: A built Keras optimizer whose state (moments, count of steps) the training
            starts from and which has the state at its end afterwards, where it is of the class
            that the spec names; another one is left alone. None starts afresh.
        prompt: Whether batch normalisation's moving statistics keep up with the training whatever
            the layers' momentum is; see `prompt_statistics`. Otherwise they move as in Keras's
            `fit`.

    Returns:
        The account. Where the loss became NaN after a whole epoch, `diverged` says so, and the
        model has the best (or last good) weights.

    Raises:
        InputError: Options don't go together, the data lacks a split, or the loss became NaN in
            the first epoch; the model has the weights it came with then.
        Stopped: The user interrupted; the last whole epoch's state stays in `state_dir`.
    """
    progress = progress or Silent()
    _check(model, dataset, spec, teacher)
    check_callbacks(callbacks, spec)
    split, task = dataset.report_split, dataset.task
    key = _key(model, dataset, spec, seed, teacher, optimizer)
    checkpoints = Checkpoints(state_dir, key, writes=spec.distribute == "none" or is_chief())
    progress.stage("measuring the model before the training")
    rows = figures(model, split, task)
    before = task.headline_of(rows)
    nothing = _nothing_to_train(model)
    if nothing or spec.epochs == 0:
        same = compared(rows, rows)
        return History(
            task.metric, split.name, before, before, {}, 0.0, notes=nothing, metrics=same
        )
    progress.stage(f"training {spec.epochs} epochs")
    try:
        with own_loss(model, task) as own:
            objective = replace(_objective(model, dataset, spec, teacher), own_loss=own)
            conditions = Conditions(
                seed=seed,
                checkpoints=checkpoints,
                callbacks=callbacks,
                progress=progress,
                factors=factors,
                optimizer=optimizer,
                prompt=prompt,
            )
            loop = _run(model, dataset, objective, conditions)
    except KeyboardInterrupt:
        raise _stopped(checkpoints) from None
    finally:
        checkpoints.close()
    refuse_diverged(loop)
    after = compared(figures(model, split, task), rows)
    history = _account(loop, dataset, spec, after, before)
    return replace(history, notes=(*history.notes, *_uncalled(model, task)))


def _run(
    model: keras.Model,
    dataset: Dataset,
    objective: Objective,
    conditions: Conditions,
) -> Loop:
    """Train deterministically, with the fused normalisation in model and teacher."""
    strategy = strategy_of(objective.spec)
    factors, callbacks = conditions.factors, conditions.callbacks
    if strategy is not None and (callbacks or factors or objective.own_loss):
        what = "lr_decay_per_block" if factors else "a callback"
        what = what if factors or callbacks else "compute_loss of the model's own class"
        raise InputError(f"{what} does not go with distribute", "leave one of them out")
    with deterministic_operations(), _swapped(model, objective):
        seed, progress = conditions.seed, conditions.progress
        spec = with_found_rate(model, dataset, objective, seed, progress)
    replicas = None if strategy is None else Replicas(strategy, model)
    trained = model if replicas is None else replicas.model
    with deterministic_operations(), _swapped(trained, objective):
        if replicas is None:
            dataset, objective = with_known_answers(dataset, objective)
        loop = Loop(trained, dataset, objective, spec, conditions, replicas)
        loop.run()
    if replicas is not None:
        replicas.hand_back()
    return loop


@contextmanager
def _swapped(model: keras.Model, objective: Objective) -> Iterator[None]:
    """Let the layers of model and teacher compute as the training wants them to."""
    kind = resolve_compute(objective.spec.compute)
    with ExitStack() as stack:
        for network in (model, objective.teacher):
            if network is not None:
                stack.enter_context(computing_in(network, kind))
                stack.enter_context(fused_batch_norm(network))
        for recorder in (objective.own, objective.others):
            if recorder is not None:
                stack.enter_context(recorder)
        yield


def _objective(
    model: keras.Model, dataset: Dataset, spec: TrainSpec, teacher: keras.Model | None
) -> Objective:
    own, others = recorders(model, teacher, spec.distill_layers)
    weights = class_weights(spec.class_weights, model, dataset)
    positive = positive_weights(spec.positive_weights, model, dataset)
    if dataset.unlabelled:
        spec = spec.model_copy(update={"distill_weight": 1.0})
    return Objective(dataset.task, spec, teacher, weights, positive, own, others)


def _check(
    model: keras.Model, dataset: Dataset, spec: TrainSpec, teacher: keras.Model | None
) -> None:
    refuse_own_step(model)
    if any(isinstance(o.compiled, NoLoss) for o in dataset.task.outputs if o.scored):
        NoLoss()()
    if dataset.training_split.size == 0:
        raise InputError("the training split is empty")
    steps = spec.epochs * dataset.training_split.steps(spec.batch_size)
    if spec.accumulate > max(1, steps):
        raise InputError(
            f"accumulate {spec.accumulate} is more than the training's {steps} steps, so no weight"
            " would ever be updated",
            "take fewer, or more epochs",
        )
    if dataset.unlabelled and teacher is None:
        raise InputError(
            "without labels there is only a teacher to learn from",
            "give --teacher MODEL (in prune: leave --no-distill out)",
        )
    if teacher is not None:
        check_teacher(teacher, model)
    check_weights(model, dataset, spec, teacher is not None)


def _key(
    model: keras.Model,
    dataset: Dataset,
    spec: TrainSpec,
    seed: int,
    teacher: keras.Model | None,
    optimizer: keras.Optimizer | None,
) -> str:
    """Says which training a state belongs to."""
    carried = carries(optimizer, OPTIMIZERS[spec.optimizer](spec))
    return content_key(
        weights_hash(model),
        [v.trainable for v in model.weights],
        dataset.fingerprint,
        spec.model_dump(mode="json", exclude={"log_csv", "log_tensorboard"}),
        seed,
        None if teacher is None else weights_hash(teacher),
        slots_hash(optimizer, model) if carried else None,
    )


def _uncalled(model: keras.Model, task: Task) -> tuple[str, ...]:
    """A note where a model's class has figures of its own, which are not taken."""
    own = own_training(model)
    parts = ("compute_metrics", "test_step")
    names = [name for name in parts if own is not None and name in own.methods]
    if own is None or not names:
        return ()
    said = f"{' and '.join(names)} of {own.name} {'is' if len(names) == 1 else 'are'} not called"
    return (f"{said}: the figures are the task's {task.metric}",)


def _nothing_to_train(model: keras.Model) -> tuple[str, ...]:
    """A note where a training would leave every weight as it is."""
    import keras

    follows = any(
        isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        for layer in model._flatten_layers()
    )
    if follows or model.trainable_variables:
        return ()
    return ("nothing is unfrozen, so nothing was trained",)


def _stopped(checkpoints: Checkpoints) -> Stopped:
    if checkpoints.where is None:
        return Stopped(
            "training stopped", "nothing was kept; with a state folder it can be resumed"
        )
    return Stopped(
        "training stopped",
        f"the last complete epoch is in '{checkpoints.where}'; the same call goes on from there",
    )


def _account(
    loop: Loop,
    dataset: Dataset,
    spec: TrainSpec,
    metrics: tuple[OutputMetric, ...],
    before: float,
) -> History:
    after = dataset.task.headline_of(metrics)
    best = loop.judge.best(loop.columns, loop.settled) if spec.restore_best else None
    notes = (
        []
        if dataset.val
        else ["the data has no validation split: epochs were selected on the training loss"]
    )
    if spec.lr == AUTO_RATE:
        notes.append(f"the range test took the learning rate {loop.rate:.3g}")
    chances = [] if dataset.val is None else chances_of(dataset.task, dataset.val)
    stuck = at_chance(loop.columns, chances)
    several = len(dataset.task.outputs) > 1
    known = {f"{m.output}_{m.metric}" if several else m.metric: m.source_value for m in metrics}
    earlier = {name: value for name, value in known.items() if value is not None}
    lost = None if stuck else collapsed(loop.columns, chances, earlier, loop.rate)
    notes += filter(None, (stuck, lost and lost[1]))
    if dataset.task.better(before, after):
        notes.append(
            f"the training made the model worse ({dataset.task.metric} {before:.4g} to"
            f" {after:.4g}): try a lower learning rate, or a warm-up of one epoch"
        )
    return History(
        metric=dataset.task.metric,
        split=dataset.report_split.name,
        before=before,
        after=after,
        epochs=loop.columns,
        seconds=loop.seconds,
        stopped_early=len(loop.settled) < spec.epochs,
        best_epoch=len(loop.settled) if best is None else best + 1,
        diverged=loop.diverged,
        lr=loop.rate,
        notes=tuple(notes),
        metrics=metrics,
        at_chance=stuck,
        collapsed=lost,
    )
