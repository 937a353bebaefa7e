"""A model's own `compute_loss`, run on what is trained: a copy, or what pruning left."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgepress.compress.data import Task
from edgepress.compress.errors import InputError
from edgepress.compress.models.own_training import OwnTraining, own_training, refuse_own_step

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
    from keras.src.trainers.compile_utils import CompileLoss

    from edgepress.compress.keras_types import Nested, SampleWeights

# Set by `compile`, and of no use to a loss.
_COMPILED = ("optimizer", "history", "train_function", "test_function", "predict_function")


class OwnLoss:
    """A loss that a model's class computes by itself.

    Args:
        model: What is trained; of the class that `own` names.
        own: Where the loss comes from.
    """

    def __init__(self, model: keras.Model, own: OwnTraining) -> None:
        parameters = inspect.signature(model.compute_loss).parameters
        kinds = {p.kind for p in parameters.values()}
        self._training = "training" in parameters or inspect.Parameter.VAR_KEYWORD in kinds
        self._model = model
        self._name = own.name

    def __call__(
        self,
        inputs: Nested,
        targets: Nested,
        outputs: Nested,
        weights: SampleWeights | None,
        train: bool,
    ) -> tf.Tensor:
        """The loss of a batch; what layers add is in it where the class adds it.

        Raises:
            InputError: The class's Python fails.
        """
        mode = {"training": train} if self._training else {}
        try:
            return self._model.compute_loss(inputs, targets, outputs, weights, **mode)
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            raise InputError(
                f"compute_loss of {self._name} fails on a copy of the model:"
                f" {type(error).__name__}: {lines[0]}",
                "let it use its arguments, layers of the model's graph and attributes that are"
                " numbers, functions or frozen models",
            ) from error


@contextmanager
def own_loss(model: keras.Model, task: Task) -> Iterator[OwnLoss | None]:
    """The loss of a model's own class; inside the block the model is of that class.

    Args:
        model: What is trained: the user's model, a copy, or one that was made from it.
        task: Gives the loss that `super().compute_loss` takes where the user compiled none.

    Yields:
        The loss, or None where the class has none of its own.

    Raises:
        InputError: The class has a `train_step` of its own.
    """
    refuse_own_step(model)
    own = own_training(model)
    if own is None or "compute_loss" not in own.methods:
        yield None
        return
    lent = _attributes(model, own.model)
    lent["_compile_loss"] = own.model._compile_loss or _compiled(model, task)
    kind, before = type(model), dict(vars(model))
    try:
        # Past Keras's tracking: no part of the model's state.
        vars(model).update(lent)
        object.__setattr__(model, "__class__", _class_for(kind, type(own.model)))
        yield OwnLoss(model, own)
    finally:
        object.__setattr__(model, "__class__", kind)
        for name in lent:
            if name in before:
                vars(model)[name] = before[name]
            else:
                del vars(model)[name]


def _compiled(model: keras.Model, task: Task) -> CompileLoss:
    from keras.src.trainers.compile_utils import CompileLoss

    return CompileLoss(task.keras_loss(), output_names=getattr(model, "output_names", None))


def _class_for(kind: type[keras.Model], own: type[keras.Model]) -> type[keras.Model]:
    """The user's class; where the model isn't of its kind, both in one."""
    return own if issubclass(own, kind) else type(own.__name__, (kind, own), {})


def _attributes(model: keras.Model, source: keras.Model) -> dict[str, Any]:
    """What the user's model holds beside what Keras does, as far as it has a place in the copy.

    A layer of the graph stands for the copy's layer of that name. Weights that learn and aren't in
    the graph have no place there: a loss that needs them fails, and says so.
    """
    import keras

    if model is source:
        return {}
    graph = {layer.name: layer for layer in model._flatten_layers(include_self=False)}
    usual = vars(keras.Model(source.inputs, source.outputs))
    found: dict[str, Any] = {}
    for name, value in vars(source).items():
        if name in usual or name in _COMPILED or name.startswith("_compile"):
            continue
        parts = keras.tree.flatten(value) if isinstance(value, list | tuple | dict) else [value]
        held = [p for p in parts if isinstance(p, keras.Layer | keras.Variable)]
        if isinstance(value, keras.Layer) and value.name in graph:
            found[name] = graph[value.name]
        elif (not any(p.trainable for p in held) and name not in vars(model)) or (
            not held and not isinstance(value, keras.metrics.Metric)
        ):
            found[name] = value
    return found
