"""Keras callbacks of the user's: what they are named by, see, may set, and are resumed with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import running
from edgepress.compress.models.user_code import resolve_object
from edgepress.compress.specs.recipe import TrainSpec
from edgepress.compress.training.loop.checkpoints import Resumable, Snapshot

if TYPE_CHECKING:
    import keras


def callbacks_of(named: Iterable[keras.callbacks.Callback | str]) -> list[keras.callbacks.Callback]:
    """Callbacks from `file.py:object` references; objects are given back as they are.

    Args:
        named: References to a callback, or to a class or function that gives one without
            arguments; or callbacks.

    Raises:
        InputError: A reference names nothing, or no callback.
    """
    return [_callback(one) if isinstance(one, str) else one for one in named]


def _callback(reference: str) -> keras.callbacks.Callback:
    import keras

    found = resolve_object(reference)
    if not isinstance(found, keras.callbacks.Callback) and callable(found):
        with running(f"callback '{reference}'"):
            found = found()
    if not isinstance(found, keras.callbacks.Callback):
        raise InputError(
            f"'{reference}' is {type(found).__name__}, not a Keras callback",
            "name a keras.callbacks.Callback, or a class or function that gives one",
        )
    return found


def check_callbacks(callbacks: Sequence[keras.callbacks.Callback], spec: TrainSpec) -> None:
    """Refuse callbacks of Keras that set the learning rate where the training's schedule does.

    Raises:
        InputError: Names both.
    """
    import keras

    scheduler = keras.callbacks.LearningRateScheduler
    setting = (scheduler, keras.callbacks.ReduceLROnPlateau)
    for callback in callbacks:
        if not isinstance(callback, setting):
            continue
        if spec.schedule != "constant":
            raise _two_rates(_name(callback), f"schedule {spec.schedule}")
        if spec.warmup and isinstance(callback, scheduler):
            raise _two_rates(_name(callback), f"warmup {spec.warmup:g}")


def _name(callback: keras.callbacks.Callback) -> str:
    return type(callback).__name__


def _two_rates(who: str, what: str) -> InputError:
    return InputError(
        f"the callback {who} sets the learning rate, and so does {what}",
        "take schedule constant without warmup, or leave the callback out",
    )


class Pace:
    """The learning rate of a training: its schedule's, until a callback sets another one.

    Args:
        optimizer: A built Keras optimizer.
        plan: The schedule: from the number of steps done and the losses of whole epochs to a rate.
        spec: Names the schedule.
        callbacks: Who else may set the rate.

    Attributes:
        planned: What the schedule gave last; NaN before the first step.
    """

    def __init__(
        self,
        optimizer: keras.Optimizer,
        plan: Callable[[int, Sequence[float]], float],
        spec: TrainSpec,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> None:
        self.planned = math.nan
        self._optimizer = optimizer
        self._plan = plan
        self._spec = spec
        self._callbacks = callbacks

    def move(self, done: int, losses: Sequence[float]) -> None:
        """Give the optimizer the schedule's rate where that differs from the one before.

        Raises:
            InputError: A callback has set another rate since, which would be lost.
        """
        new = self._plan(done, losses)
        if new == self.planned:
            return
        if self._callbacks and not math.isnan(self.planned) and self.current() != self.planned:
            who = ", ".join(dict.fromkeys(map(_name, self._callbacks)))
            spec = self._spec
            constant = spec.schedule == "constant"
            what = f"warmup {spec.warmup:g}" if constant else f"schedule {spec.schedule}"
            raise _two_rates(who, what)
        self.planned = new
        self._optimizer.learning_rate.assign(new)

    def current(self) -> float:
        """The rate that the optimizer has: the schedule's, or what a callback has set."""
        held = np.float32(np.asarray(self._optimizer.learning_rate))
        same = math.isnan(self.planned) or held == np.float32(self.planned)
        return self.planned if same else float(held)


class Hooks:
    """Calls the callbacks of one training; inside the block the model is what they expect.

    Args:
        callbacks: Keras callbacks.
        model: What is trained; has the optimizer inside the block.
        optimizer: The training's.
        directions: By name of a figure, whether more of it is better.
        epochs: Epochs of the training.
        steps: Steps of an epoch.

    Attributes:
        calls: The callbacks as Keras's `CallbackList`; None outside the block.

    Raises:
        InputError: A callback watches a figure that the training doesn't have.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        model: keras.Model,
        optimizer: keras.Optimizer,
        directions: Mapping[str, bool],
        epochs: int,
        steps: int,
    ) -> None:
        self.calls: Any = None
        self._callbacks = list(callbacks)
        self._model = model
        self._optimizer = optimizer
        self._params = {"epochs": epochs, "steps": steps, "verbose": 0}
        self._modes = {c: mode for c in callbacks if (mode := _mode(c, directions))}
        self._at_first: list[dict[str, Any]] = []
        self._had: Any = None

    def __enter__(self) -> Hooks:
        """Lend the model its optimizer, and callbacks the direction of what they watch."""
        import keras

        self._had = getattr(self._model, "optimizer", None)
        # Callbacks look for the optimizer on the model; a saved model shall not carry it along.
        self._model.optimizer = self._optimizer
        for callback, mode in self._modes.items():
            callback.mode = mode
        self.calls = keras.callbacks.CallbackList(
            self._callbacks, model=self._model, **self._params
        )
        return self

    def __exit__(self, *error: object) -> None:
        """Take back what was lent."""
        self._model.optimizer = self._had
        for callback in self._modes:
            callback.mode = "auto"

    def begin(self) -> None:
        """Start the training, and remember what the callbacks were at its start."""
        self.calls.on_train_begin()
        self._at_first = [_numbers(c) for c in self._callbacks]

    def state(self) -> tuple[dict[str, NDArray[Any]], list[dict[str, Any]]]:
        """Arrays by name, and numbers by callback, that a resumed training gets back.

        Of Keras's own callbacks these are the numbers and the lists of arrays among their
        attributes that have changed since the training began: what they count and hold.
        """
        arrays: dict[str, Any] = {}
        facts: list[dict[str, Any]] = []
        for i, callback in enumerate(self._callbacks):
            changed: dict[str, Any] = {}
            if isinstance(callback, Resumable):
                arrays |= {f"callback/{i}/{k}": v for k, v in callback.state().items()}
            else:
                first = self._at_first[i]
                now = _numbers(callback)
                changed = {k: v for k, v in now.items() if k not in first or v != first[k]}
                for name, held in _weights(callback).items():
                    arrays |= {f"callback/{i}/{name}/{j}": a for j, a in enumerate(held)}
            facts.append({"class": _name(callback), "numbers": changed})
        return arrays, facts

    def restore(self, snapshot: Snapshot) -> None:
        """Take over what `state` gave; called after `begin`."""
        facts = snapshot.facts.get("callbacks", [])
        for i, callback in enumerate(self._callbacks):
            arrays = snapshot.group(f"callback/{i}")
            if isinstance(callback, Resumable):
                callback.restore(arrays)
            elif i < len(facts) and facts[i]["class"] == _name(callback):
                _restore(callback, facts[i]["numbers"], arrays)


def _restore(
    callback: keras.callbacks.Callback,
    numbers: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
) -> None:
    if getattr(callback, "monitor_op", True) is None:
        # Turns the sign of `min_delta` on its first call, which the numbers have behind them.
        callback._set_monitor_op()
    for name, value in numbers.items():
        setattr(callback, name, value)
    lists: dict[str, dict[int, Any]] = {}
    for key, array in arrays.items():
        name, _, place = key.rpartition("/")
        lists.setdefault(name, {})[int(place)] = array
    for name, held in lists.items():
        setattr(callback, name, [held[j] for j in range(len(held))])


def _is_keras(callback: keras.callbacks.Callback) -> bool:
    """Whether a callback is one of Keras's own, or made of one."""
    import keras

    bare = (keras.callbacks.Callback, object)
    homes = {c.__module__.partition(".")[0] for c in type(callback).__mro__ if c not in bare}
    return "keras" in homes


def _numbers(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Attributes of a callback of Keras's that are a number, a text or nothing."""
    found: dict[str, Any] = {}
    if not _is_keras(callback):
        return found
    for name, value in vars(callback).items():
        plain = value.item() if isinstance(value, np.generic) else value
        if plain is None or isinstance(plain, bool | int | float | str):
            found[name] = plain
    return found


def _weights(callback: keras.callbacks.Callback) -> dict[str, list[NDArray[Any]]]:
    """Attributes that are lists of arrays, such as the weights of the best epoch."""
    held = {name: value for name, value in vars(callback).items() if isinstance(value, list)}
    return {
        name: value
        for name, value in held.items()
        if _is_keras(callback) and value and all(isinstance(a, np.ndarray) for a in value)
    }


def _mode(callback: keras.callbacks.Callback, directions: Mapping[str, bool]) -> str:
    """What "auto" stands for in a callback that watches a figure; empty where it is given.

    Keras looks for the figure among the metrics of a compiled model, which is not needed here.
    """
    from keras.src.callbacks.monitor_callback import MonitorCallback

    if not isinstance(callback, MonitorCallback) or callback.mode != "auto":
        return ""
    name = callback.monitor.removeprefix("val_")
    if name in directions:
        return "max" if directions[name] else "min"
    there = [*directions, *(f"val_{known}" for known in directions)]
    raise InputError(
        f"the callback {_name(callback)} watches '{callback.monitor}', which this training doesn't"
        " measure",
        f"watch one of {', '.join(there)}",
    )
