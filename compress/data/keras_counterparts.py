"""Losses and metrics of Keras that go with a task."""

from __future__ import annotations

from typing import Any

from edgepress.compress.errors import InputError


def keras_loss(name: str, logits: bool) -> Any:
    """A Keras loss object.

    Args:
        name: As Keras names it.
        logits: Whether a cross-entropy is taken on logits.

    Raises:
        InputError: Keras has no such loss.
    """
    import keras

    try:
        loss = keras.losses.get(name)
    except ValueError:
        loss = None
    if loss is None:
        raise InputError(
            f"unknown loss '{name}'", "Keras losses by name, such as mse, mae, huber, kl_divergence"
        )
    class_name = "".join(part.capitalize() for part in loss.__name__.split("_"))
    found = getattr(keras.losses, class_name, None)
    if found is None:
        return loss
    return found(from_logits=True) if logits and "crossentropy" in name else found()


def keras_metrics(metric: str, loss: str, logits: bool) -> list[Any]:
    """Keras metrics that say the same as a metric of ours; empty where there is none."""
    import keras

    threshold = 0.0 if logits else 0.5
    if metric in ("accuracy", "binary_accuracy"):
        if loss.startswith("sparse_"):
            return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
        if loss.startswith("categorical_"):
            return [keras.metrics.CategoricalAccuracy(name="accuracy")]
        return [keras.metrics.BinaryAccuracy(name=metric, threshold=threshold)]
    by_name = {
        "mae": keras.metrics.MeanAbsoluteError,
        "mse": keras.metrics.MeanSquaredError,
        "rmse": keras.metrics.RootMeanSquaredError,
    }
    # Of logits an error is taken on their probabilities, which Keras's metrics don't do.
    return [by_name[metric](name=metric)] if metric in by_name and not logits else []
