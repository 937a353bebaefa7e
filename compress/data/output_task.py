"""What one output of a model is asked for, and how well it does."""

from __future__ import annotations

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
from edgepress.compress.data.losses.keras_counterparts import keras_loss
from edgepress.compress.data.metrics import LOSS, Scorer, metric_of
from edgepress.compress.models.loss_objects import is_keras_loss

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested

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
        loss_text = f"{self.loss}{' with ' + self.settings if self.settings else ''}"
        return f"{self.kind} ({loss_text}{' on logits' if self.logits else ''})"


def _probabilities(logits: Array, softmax: bool) -> Array:
    values = logits.astype(np.float64)
    if not softmax:
        return 0.5 * (1 + np.tanh(values / 2))
    grown = np.exp(values - values.max(-1, keepdims=True))
    found: Array = grown / grown.sum(-1, keepdims=True)
    return found
