"""Losses and metrics of Keras that go with a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.models.compiled_losses import plain_name

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import Tensor


def keras_loss(name: str, logits: bool) -> keras.losses.Loss:
    """A Keras loss object.

    Args:
        name: As Keras names it.
        logits: Whether a cross-entropy is taken on logits.

    Raises:
        InputError: Keras has no such loss.
    """
    import keras

    name = loss_name(name)
    loss = _found(name)
    if loss is None:
        raise InputError(
            f"unknown loss '{name}'", "Keras losses by name, such as mse, mae, huber, kl_divergence"
        )
    classes = {n.lower(): c for n, c in vars(keras.losses).items() if isinstance(c, type)}
    found = classes.get(getattr(loss, "__name__", "").replace("_", ""))
    if found is None:
        return loss
    return found(from_logits=True) if logits and "crossentropy" in name else found()


def loss_name(name: str) -> str:
    """The plain name of a loss of Keras's; other names are given back as they are."""
    plain = plain_name(name)
    return name if _found(plain) is None else plain


def _found(name: str) -> Callable[..., Tensor] | keras.losses.Loss | None:
    import keras

    try:
        return keras.losses.get(name)
    except ValueError:
        return None


def keras_metrics(metric: str, loss: str, logits: bool, name: str = "") -> list[Any]:
    """Keras metrics that say the same as a metric of ours; empty where there is none.

    Args:
        metric: Ours.
        loss: Keras's name of the output's loss.
        logits: Whether outputs come before their softmax or sigmoid.
        name: What to call it; Keras's name where it is empty.
    """
    import keras

    threshold = 0.0 if logits else 0.5
    if metric in ("accuracy", "binary_accuracy"):
        if loss.startswith("sparse_"):
            return [keras.metrics.SparseCategoricalAccuracy(name=name or "accuracy")]
        if loss.startswith("categorical_"):
            return [keras.metrics.CategoricalAccuracy(name=name or "accuracy")]
        return [keras.metrics.BinaryAccuracy(name=name or metric, threshold=threshold)]
    by_name = {
        "mae": keras.metrics.MeanAbsoluteError,
        "mse": keras.metrics.MeanSquaredError,
        "rmse": keras.metrics.RootMeanSquaredError,
    }
    # Of logits an error is taken on their probabilities, which Keras's metrics don't do.
    return [by_name[metric](name=name or metric)] if metric in by_name and not logits else []
