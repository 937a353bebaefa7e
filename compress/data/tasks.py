"""What a model is asked to do, output by output, and how well it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.data.losses.keras_counterparts import keras_metrics
from edgepress.compress.data.metrics import drop_of, metric_of
from edgepress.compress.data.output_task import Kind, OutputTask
from edgepress.compress.kernel.figures import OutputMetric

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested, SampleWeights


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
        scored = self.headline
        return tuple(output.name for output in self.outputs if output not in scored)

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
        scored = self.headline
        values = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
        parts = zip(self.outputs, values, self.target_list(targets), strict=True)
        return tuple(
            OutputMetric(o.name, o.metric, o.score(given, target), headline=o in scored)
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
