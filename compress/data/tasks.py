"""What a model is asked to do, output by output, and how well it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.losses.by_place import (
    ELEMENTWISE,
    Places,
    VoidLabel,
    loss_by_place,
    loss_of_overlap,
    places_of,
)
from edgepress.compress.data.losses.keras_counterparts import keras_loss, keras_metrics
from edgepress.compress.data.metrics import LOSS, Scorer, drop_of, metric_of
from edgepress.compress.kernel.figures import OutputMetric
from edgepress.compress.models.loss_objects import is_keras_loss

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested, SampleWeights

# "own": targets mean something to the loss alone, and may have any shape.
Kind = Literal["classification", "binary", "multi-label", "regression", "image-to-image", "own"]
# Samples of which a loss is taken at once, where it is the metric.
_LOSS_BATCH = 64
Array = NDArray[Any]


@dataclass(frozen=True)
class OutputTask:
    """What one output is asked for.

    Attributes:
        name: Of the output.
        kind: What its targets are.
        loss: Keras loss by name.
        metric: What `metric_of` knows.
        logits: Whether its values are those before a softmax or sigmoid.
        weight: What its loss counts beside those of other outputs; 0 where it has none, and then
            it is neither trained nor scored, and may lack targets.
        compiled: The loss that it is trained by, where it isn't the plain one of Keras's of that
            name: one of the user's own, or as the model was compiled; else None.
        settings: What sets it apart, as people read it, such as "gamma=3".
        void: The label of places that count neither in the loss nor in the metric, or None.
    """

    name: str
    kind: Kind
    loss: str
    metric: str
    logits: bool = False
    weight: float = 1.0
    compiled: Any = field(default=None, compare=False, repr=False)
    settings: str = ""
    void: VoidLabel | None = None

    def keras_loss(self) -> keras.losses.Loss:
        """The Keras loss object that it is trained by."""
        return self.compiled or keras_loss(self.loss, self.logits)

    def weighted_loss(
        self, target: tf.Tensor, output: tf.Tensor, weights: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Its part in the loss of a batch; arguments as for a Keras loss."""
        found = self._loss_of(target, output, weights)
        return found if self.weight == 1 else self.weight * found

    def _loss_of(
        self, target: tf.Tensor, output: tf.Tensor, weights: tf.Tensor | None = None
    ) -> tf.Tensor:
        loss, void = self.keras_loss(), self.void
        several = not self.numbered and output.shape[-1] != 1
        by_label = weights is not None and several and weights.shape.rank == output.shape.rank
        if void is not None and void.by == "overlap":
            return loss_of_overlap(loss, target, output, void, self.numbered, weights)
        if by_label or (void is not None and void.by == "places"):
            return loss_by_place(loss, self.places(target, output), weights)
        if weights is None:
            return loss(target, output)
        return loss(target, output, sample_weight=weights)

    def places(self, target: tf.Tensor, output: tf.Tensor) -> Places:
        """A batch as its loss takes it, place by place.

        Args:
            target: (batch, …) tensor.
            output: (batch, …) tensor.
        """
        several = not self.numbered and output.shape[-1] != 1
        elementwise = self.loss in ELEMENTWISE
        plain = self.compiled is None or is_keras_loss(self.compiled)
        single = several and elementwise and plain
        return places_of(target, output, self.void, self.numbered, single)

    def followed(self, target: tf.Tensor, output: tf.Tensor) -> tuple[Any, Any, Any]:
        """A batch as a Keras metric takes it: targets, outputs and weights or None.

        Args:
            target: (batch, …) tensor.
            output: (batch, …) tensor.
        """
        if self.void is None:
            return target, output, None
        labels = not self.numbered and output.shape[-1] != 1
        places = places_of(target, output, self.void, self.numbered, labels)
        return places.target, places.output, places.kept

    @property
    def numbered(self) -> bool:
        """Whether targets are class numbers."""
        return "sparse" in self.loss

    def counting(self, targets: Array) -> Array | None:
        """Which places of some targets count; None where all do.

        Args:
            targets: (samples, …) array.
        """
        return None if self.void is None else np.asarray(self.void.counting(targets))

    @property
    def scored(self) -> bool:
        """Whether its metric is taken."""
        return self.weight > 0

    @property
    def of_classes(self) -> bool:
        """Whether its targets are classes or labels, not values."""
        decides = self.kind in ("classification", "binary", "multi-label")
        return decides or "crossentropy" in self.loss or self.metric in ("accuracy", "iou")

    def score(self, outputs: Nested, targets: Nested) -> float:
        """The metric over samples; NaN of no samples, and of outputs that hold NaN.

        Args:
            outputs: (samples, …) array.
            targets: (samples, …) array.
        """
        return float(self.scorer(outputs, targets)(None))

    def scorer(self, outputs: Nested, targets: Nested) -> Scorer:
        """Gives the metric over any of some samples, by their indices.

        Args:
            outputs: (samples, …) array.
            targets: (samples, …) array.
        """
        values, truth, logits = self.scorable(outputs, targets)
        if self.metric == LOSS:
            return self._loss_scorer(values, truth)
        if not len(values) or np.isnan(values).any():
            return lambda _: float("nan")
        metric, counting = metric_of(self.metric), self.counting(np.asarray(targets))
        if counting is None or metric.own or metric.of_places is None:
            return metric.scorer(values, truth, logits)
        return metric.of_places(values, truth, logits, counting)

    def _loss_scorer(self, outputs: Array, targets: Array) -> Scorer:
        """The mean of the loss, taken batch by batch as a training takes it."""

        def mean(chosen: Array | None) -> float:
            import tensorflow as tf

            total, below = 0.0, 0
            given, truth = (a if chosen is None else a[chosen] for a in (outputs, targets))
            for start in range(0, len(given), _LOSS_BATCH):
                here = slice(start, start + _LOSS_BATCH)
                target, output = tf.convert_to_tensor(truth[here]), tf.cast(given[here], tf.float32)
                counting = self.counting(truth[here])
                size = len(given[here]) if counting is None else int(counting.sum())
                total += float(self._loss_of(target, output)) * size
                below += size
            return total / below if below else float("nan")

        return mean

    def scorable(self, outputs: Nested, targets: Nested) -> tuple[Array, Array, bool]:
        """Outputs and targets as the metric takes them, and whether outputs are logits then.

        Args:
            outputs: (samples, …) array.
            targets: (samples, …) array.
        """
        metric = metric_of(self.metric)
        values, truth = np.asarray(outputs), np.asarray(targets)
        if metric.own:
            return values, truth, self.logits
        values = values[:, None] if values.ndim == 1 else values
        if self.void is not None:
            truth = np.where(self.void.counting(truth), truth, 0).astype(truth.dtype)
        if self.kind == "multi-label" and not metric.of_values:
            truth = truth > 0.5  # said so, for samples of one label each look like classes
        if not (self.logits and metric.of_values):
            return values, truth, self.logits
        softmax = self.kind == "classification" or "categor" in self.loss
        return _probabilities(values, softmax), truth, False

    def text(self) -> str:
        """The task as people read it, such as "binary (binary_crossentropy on logits)"."""
        told = f"{self.loss}{' with ' + self.settings if self.settings else ''}"
        return f"{self.kind} ({told}{' on logits' if self.logits else ''})"


def _probabilities(logits: Array, softmax: bool) -> Array:
    values = logits.astype(np.float64)
    if not softmax:
        return 0.5 * (1 + np.tanh(values / 2))
    grown = np.exp(values - values.max(-1, keepdims=True))
    found: Array = grown / grown.sum(-1, keepdims=True)
    return found


@dataclass(frozen=True)
class Task:
    """The task of one model.

    The headline, which choices are made by and tables show, is that of the first output that is
    scored by the metric asked for. Where several outputs have the same score without a unit
    (accuracy, IoU, …), it is their mean; errors have the units of their targets, of which there is
    no mean.

    Attributes:
        outputs: What each output is asked for, in the model's order.
        asked: The metric that was asked for, or None.
        remarks: What should be known of how the task was understood, one line each.
        leading: The output that the metric was asked for, or empty.
    """

    outputs: tuple[OutputTask, ...]
    asked: str | None = None
    remarks: tuple[str, ...] = ()
    leading: str = ""

    @property
    def headline(self) -> tuple[OutputTask, ...]:
        """The outputs that the one metric is of."""
        scored = [output for output in self.outputs if output.scored]
        asked = [o for o in scored if o.metric == self.asked]
        head = next((o for o in asked if o.name == self.leading), (asked or scored)[0])
        if not metric_of(head.metric).unitless:
            return (head,)
        return tuple(output for output in scored if output.metric == head.metric)

    @property
    def kind(self) -> Kind:
        """What the first output is asked for."""
        return self.outputs[0].kind

    @property
    def metric(self) -> str:
        """Name of the headline's metric."""
        return self.headline[0].metric

    @property
    def losses(self) -> tuple[str, ...]:
        """Keras loss by name for each output."""
        return tuple(output.loss for output in self.outputs)

    @property
    def logits(self) -> tuple[bool, ...]:
        """For each output, whether it comes before its softmax or sigmoid."""
        return tuple(output.logits for output in self.outputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the model's outputs."""
        return tuple(output.name for output in self.outputs)

    @property
    def unscored(self) -> tuple[str, ...]:
        """Outputs that the headline says nothing of."""
        told = self.headline
        return tuple(output.name for output in self.outputs if output not in told)

    @property
    def loss(self) -> str:
        """The loss, those of several outputs joined."""
        return "+".join(dict.fromkeys(o.loss for o in self.outputs if o.scored))

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger metric is a better one."""
        return metric_of(self.metric).higher_is_better

    def text(self) -> str:
        """The task of each output that is trained, as people read it."""
        scored = [output for output in self.outputs if output.scored]
        if len(scored) == 1:
            return scored[0].text()
        return ", ".join(f"{output.name}: {output.text()}" for output in scored)

    def better(self, value: float, other: float) -> bool:
        """Whether one value of the metric is better than another."""
        return value > other if self.higher_is_better else value < other

    def drop(self, before: float, after: float) -> float:
        """How much worse `after` is: points for scores, the share of `before` for errors."""
        return drop_of(self.metric, before, after)

    def keras_loss(self) -> keras.losses.Loss | list[keras.losses.Loss | None]:
        """A Keras loss object, or a list of one for each output."""
        losses = [output.keras_loss() for output in self.outputs]
        return losses[0] if len(losses) == 1 else losses

    def total_loss(
        self, outputs: Sequence[Any], targets: Nested, weights: SampleWeights | None = None
    ) -> tf.Tensor:
        """The losses of all outputs that have one, each with its weight, as one tensor.

        Args:
            outputs: (samples, …) tensor for each output.
            targets: (samples, …) tensor, or a mapping or sequence with one for each output.
            weights: (samples, …) tensor of what each sample counts, for all outputs or in a mapping
                by output; or None.
        """
        parts = zip(self.outputs, outputs, self.target_list(targets), strict=True)
        losses = [
            o.weighted_loss(
                target, given, weights.get(o.name) if isinstance(weights, dict) else weights
            )
            for o, given, target in parts
            if o.scored
        ]
        return sum(losses[1:], start=losses[0])

    def keras_metrics(self) -> list[Any]:
        """Keras metrics for the training display; empty where Keras has no counterpart."""
        if len(self.outputs) > 1:
            return []
        only = self.outputs[0]
        return keras_metrics(only.metric, only.loss, only.logits)

    def training_metrics(self) -> list[tuple[int, Any]]:
        """Keras metrics to follow a training by, each with the place of its output.

        Those of several outputs are named OUTPUT_METRIC, as in Keras; an output for whose metric
        Keras has no counterpart is left out.
        """
        if len(self.outputs) == 1:
            return [(0, metric) for metric in self.keras_metrics()]
        return [
            (place, metric)
            for place, o in enumerate(self.outputs)
            if o.scored
            for metric in keras_metrics(o.metric, o.loss, o.logits, f"{o.name}_{o.metric}")
        ]

    def score(self, outputs: Nested, targets: Nested) -> float:
        """The headline over samples.

        Args:
            outputs: (samples, …) array, or a sequence of one for each output.
            targets: (samples, …) array, or a mapping or sequence with one for each output.
        """
        return self.headline_of(self.figures(outputs, targets))

    def headline_of(self, figures: Sequence[OutputMetric]) -> float:
        """The headline of figures that `figures` gave."""
        return float(np.mean([f.value for f in figures if f.headline]))

    def figures(self, outputs: Nested, targets: Nested) -> tuple[OutputMetric, ...]:
        """The metric of each output that is scored.

        Args:
            outputs: As for `score`.
            targets: As for `score`.
        """
        told = self.headline
        values = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
        parts = zip(self.outputs, values, self.target_list(targets), strict=True)
        return tuple(
            OutputMetric(o.name, o.metric, o.score(given, target), headline=o in told)
            for o, given, target in parts
            if o.scored
        )

    def target_list(self, targets: Nested) -> list[Any]:
        """Targets in the outputs' order, None where an output has none."""
        if isinstance(targets, dict):
            return [targets.get(name) for name in self.output_names]
        given = list(targets) if isinstance(targets, list | tuple) else [targets]
        if len(given) == 1 < len(self.outputs):
            return [given[0] if output.scored else None for output in self.outputs]
        return given


def output_names(model: keras.Model) -> tuple[str, ...]:
    """Names of a model's outputs: the layer that makes each, numbered where it makes several.

    A layer that gives its states, or is called on several tensors, makes several: `lstm`, `lstm_1`
    and `lstm_2`.
    """
    own = getattr(model, "output_names", None)
    layers = list(own or [t._keras_history.operation.name for t in model.outputs])
    found: list[str] = []
    for name in layers:
        unique, count = name, 0
        while unique in found or (count and unique in layers):
            count += 1
            unique = f"{name}_{count}"
        found.append(unique)
    return tuple(found)
