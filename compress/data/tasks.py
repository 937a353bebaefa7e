"""What a model is asked to do, inferred from its outputs and the targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.metrics import METRICS
from edgepress.compress.errors import InputError

Kind = Literal["classification", "binary", "multi-label", "regression", "image-to-image"]
Array = NDArray[Any]
Inferred = tuple[Kind, str, str, bool]  # kind, loss, metric, logits

# The loss of outputs whose targets are class numbers.
_BY_NUMBER = "sparse_categorical_crossentropy"


@dataclass(frozen=True)
class Task:
    """The task of one model.

    Attributes:
        kind: What the first output is asked for.
        losses: Keras loss by name for each output.
        metric: Name in `METRICS`; outputs that share it are averaged.
        logits: For each output, whether it comes before its softmax or sigmoid.
        output_names: Names of the model's outputs.
        scored: For each output, whether the metric is taken over it; all where empty. One number
            can't say how classes and values do, so the first output's metric leaves others out.
    """

    kind: Kind
    losses: tuple[str, ...]
    metric: str
    logits: tuple[bool, ...]
    output_names: tuple[str, ...]
    scored: tuple[bool, ...] = ()

    @property
    def unscored(self) -> tuple[str, ...]:
        """Outputs that the metric says nothing of."""
        flags = self.scored or (True,) * len(self.output_names)
        return tuple(n for n, scored in zip(self.output_names, flags, strict=True) if not scored)

    @property
    def loss(self) -> str:
        """The loss, those of several outputs joined."""
        return "+".join(dict.fromkeys(self.losses))

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger metric is a better one."""
        return METRICS[self.metric].higher_is_better

    def better(self, value: float, other: float) -> bool:
        """Whether one value of the metric is better than another."""
        return value > other if self.higher_is_better else value < other

    def drop(self, before: float, after: float) -> float:
        """How much worse `after` is: points for scores, the share of `before` for errors."""
        if self.higher_is_better:
            return before - after
        return (after - before) / before if before else after

    def keras_loss(self) -> Any:
        """A Keras loss object, or a list of one for each output."""
        losses = [_keras_loss(n, g) for n, g in zip(self.losses, self.logits, strict=True)]
        return losses[0] if len(losses) == 1 else losses

    def keras_metrics(self) -> list[Any]:
        """Keras metrics for the training display; empty where Keras has no counterpart."""
        if len(self.losses) > 1:
            return []
        return _keras_metrics(self.metric, self.losses[0], self.logits[0])

    def score(self, outputs: Any, targets: Any) -> float:
        """The metric over samples.

        Args:
            outputs: (samples, …) array, or a sequence of one for each output.
            targets: (samples, …) array, or a mapping or sequence with one for each output.

        Returns:
            The metric, averaged over the outputs that it is taken over.
        """
        outputs = _as_list(outputs)
        flags = self.scored or (True,) * len(outputs)
        parts = zip(outputs, self._target_list(targets), self.logits, flags, strict=True)
        metric = METRICS[self.metric].score
        return float(
            np.mean([metric(np.asarray(o), np.asarray(t), g) for o, t, g, taken in parts if taken])
        )

    def _target_list(self, targets: Any) -> list[Array]:
        if isinstance(targets, dict):
            return [targets[name] for name in self.output_names]
        return _as_list(targets)


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def output_names(model: Any) -> tuple[str, ...]:
    """Names of a model's outputs: the layer that makes each."""
    names = getattr(model, "output_names", None)
    return tuple(names or [t._keras_history.operation.name for t in model.outputs])


def is_logits(tensor: Any) -> bool:
    """Whether an output has passed no softmax or sigmoid."""
    return not squashing(tensor)


def squashing(tensor: Any) -> str:
    """The softmax or sigmoid that an output has passed by name; empty where there is none."""
    operation = tensor._keras_history.operation
    for _ in range(8):
        activation = getattr(operation, "activation", None)
        name = getattr(activation, "__name__", type(operation).__name__).lower()
        if name in ("softmax", "sigmoid", "hard_sigmoid"):
            return str(name)
        nested = getattr(operation, "outputs", None)
        if nested and hasattr(operation, "layers"):
            operation = nested[0]._keras_history.operation
        elif type(operation).__name__ in ("Reshape", "Flatten", "Dropout", "Cropping2D"):
            operation = operation._inbound_nodes[0].input_tensors[0]._keras_history.operation
        else:
            return ""
    return ""


def infer_task(
    model: Any,
    targets: Any,
    loss: str | None = None,
    metric: str | None = None,
) -> Task:
    """Infer the task from the model's outputs and some targets.

    Args:
        model: A built Keras model.
        targets: (samples, …) array, or a mapping or sequence of one for each output.
        loss: Keras loss by name, instead of the inferred one.
        metric: Metric by name, instead of the inferred one.

    Returns:
        The task.

    Raises:
        InputError: Targets don't fit the outputs, or the loss or metric is unknown.
    """
    names = output_names(model)
    arrays = _by_output(targets, names) if isinstance(targets, dict) else _as_list(targets)
    if len(arrays) != len(names):
        raise InputError(
            f"the model has {len(names)} outputs ({', '.join(names)}), the data {len(arrays)}",
            "name the targets y_train__NAME",
        )
    parts = [
        _infer_output(name, tuple(tensor.shape[1:]), is_logits(tensor), np.asarray(target))
        for name, tensor, target in zip(names, model.outputs, arrays, strict=True)
    ]
    if loss is not None:
        for name, part in zip(names, parts, strict=True):
            _check_loss(loss, name, part[1])
    chosen = metric or parts[0][2]
    return Task(
        kind=parts[0][0],
        losses=tuple(loss or part[1] for part in parts),
        metric=chosen,
        logits=tuple(part[3] for part in parts),
        output_names=names,
        scored=_scored(chosen, names, parts),
    )


def _by_output(targets: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    missing = [name for name in names if name not in targets]
    if missing:
        raise InputError(
            f"no targets for output '{missing[0]}'",
            f"the data has {', '.join(map(str, targets))}, the model {', '.join(names)}",
        )
    return [targets[name] for name in names]


def _scored(metric: str, names: Sequence[str], parts: Sequence[Inferred]) -> tuple[bool, ...]:
    """Over which outputs a metric is taken: those it is natural for, else those it fits."""
    by_value = METRICS[metric].by_value
    natural = tuple(part[2] == metric for part in parts)
    fits = tuple(not (by_value and part[1] == _BY_NUMBER) for part in parts)
    if not any(fits):
        raise InputError(
            f"metric '{metric}' compares values, but the targets of output '{names[0]}' are class"
            " numbers",
            f"take {parts[0][2]}, or give one-hot targets",
        )
    return natural if any(natural) else fits


def _check_loss(loss: str, name: str, inferred: str) -> None:
    """Refuse a loss that would compare class numbers with probabilities, or the reverse."""
    _keras_loss(loss, False)
    if ("sparse" in loss.lower()) == (inferred == _BY_NUMBER):
        return
    numbers = inferred == _BY_NUMBER
    wants, has = ("values", "class numbers") if numbers else ("class numbers", "values")
    raise InputError(
        f"loss '{loss}' takes {wants}, but the targets of output '{name}' are {has}",
        f"take {inferred}" + (", or give one-hot targets" if numbers else ""),
    )


def _infer_output(name: str, shape: Sequence[int | None], logits: bool, targets: Array) -> Inferred:
    """Kind, loss, metric and logits flag of one output."""
    whole = np.issubdtype(targets.dtype, np.integer) or np.issubdtype(targets.dtype, np.bool_)
    zero_one = bool(np.isin(targets[:1000], (0, 1)).all())
    dense = len(shape) >= 3
    size = shape[-1] if shape else 1
    if size != 1 and whole and _is_index_shape(targets.shape, shape):
        _check_labels(name, targets, size)
        kind: Kind = "image-to-image" if dense else "classification"
        return kind, _BY_NUMBER, "accuracy", logits
    _check_target_shape(name, targets, shape)
    if size == 1 and zero_one and (whole or not logits):
        if dense:
            return "image-to-image", "binary_crossentropy", "iou", logits
        return "binary", "binary_crossentropy", "accuracy", logits
    if size != 1 and zero_one:
        one_hot = bool((targets.reshape(-1, targets.shape[-1]).sum(-1) == 1).all())
        if one_hot:
            kind = "image-to-image" if dense else "classification"
            return kind, "categorical_crossentropy", "accuracy", logits
        if whole or not logits:
            return "multi-label", "binary_crossentropy", "accuracy", logits
    return ("image-to-image" if dense else "regression"), "mse", "mae", False


def _is_index_shape(target: Sequence[int], output: Sequence[int | None]) -> bool:
    """Whether targets hold one class index for each output vector."""
    inner = list(target[1:])
    if inner and inner[-1] == 1 and len(inner) == len(output):
        inner = inner[:-1]
    expected = output[:-1]
    return len(inner) == len(expected) and all(
        e is None or e == i for i, e in zip(inner, expected, strict=True)
    )


def _check_labels(name: str, targets: Array, classes: int | None) -> None:
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or (classes is not None and high >= classes):
        raise InputError(
            f"labels run from {low} to {high}, but output '{name}' has {classes} classes"
            f" (0 to {(classes or 0) - 1})",
            "number the classes from 0, or give a model with that many outputs",
        )


def _check_target_shape(name: str, targets: Array, shape: Sequence[int | None]) -> None:
    inner = targets.shape[1:]
    fits = len(inner) == len(shape) and all(
        s is None or s == i for i, s in zip(inner, shape, strict=True)
    )
    if not fits and not (tuple(shape[-1:]) == (1,) and inner == tuple(shape[:-1])):
        raise InputError(
            f"targets have shape {tuple(inner)}, output '{name}' has {tuple(shape)}",
            "the data belongs to another model, or lacks a preprocessing",
        )


def _keras_loss(name: str, logits: bool) -> Any:
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


def _keras_metrics(metric: str, loss: str, logits: bool) -> list[Any]:
    import keras

    threshold = 0.0 if logits else 0.5
    if metric in ("accuracy", "binary_accuracy"):
        if loss == "sparse_categorical_crossentropy":
            return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
        if loss == "categorical_crossentropy":
            return [keras.metrics.CategoricalAccuracy(name="accuracy")]
        return [keras.metrics.BinaryAccuracy(name=metric, threshold=threshold)]
    by_name = {
        "mae": keras.metrics.MeanAbsoluteError,
        "mse": keras.metrics.MeanSquaredError,
        "rmse": keras.metrics.RootMeanSquaredError,
    }
    return [by_name[metric](name=metric)] if metric in by_name else []
