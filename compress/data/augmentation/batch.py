"""A batch as random changes see it, and what of it moves with its images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edgepress.compress.data.metrics import metric_of
from edgepress.compress.data.output_task import OutputTask
from edgepress.compress.data.tasks import Task

if TYPE_CHECKING:
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested, SampleWeights

# What the targets of an output are to a change.
Targets = Literal["labels", "masks", "pictures", "boxes"]
# Changes (batch, height, width, channels) that lie over the images: (planes, smooth) → planes.
Move = Callable[[Any, bool], Any]
# (batch, height, width, channels); of planes without channels one less.
IMAGE_RANK = 4
_PLANE_RANK = IMAGE_RANK - 1


@dataclass(frozen=True)
class Batch:
    """A batch of training samples.

    Attributes:
        inputs: (batch, …) tensors by name.
        targets: (batch, …) tensor, or a mapping or sequence of one for each output.
        weights: What each sample or place counts: a tensor, a mapping by output, or None.
    """

    inputs: dict[str, tf.Tensor]
    targets: Nested
    weights: SampleWeights | None = None

    def changed(self, **inputs: tf.Tensor) -> Batch:
        """The batch with other tensors for some inputs."""
        return dataclasses.replace(self, inputs={**self.inputs, **inputs})


@dataclass(frozen=True)
class Overlay:
    """What of a batch lies over its images, place by place.

    Attributes:
        kinds: What the targets of each output are, by name in the model's order.
    """

    kinds: Mapping[str, Targets]

    @property
    def planes(self) -> tuple[str, ...]:
        """Outputs whose targets lie over the images."""
        return tuple(n for n, kind in self.kinds.items() if kind in ("masks", "pictures"))

    @property
    def boxes(self) -> bool:
        """Whether targets are boxes."""
        return "boxes" in self.kinds.values()

    def moved(self, batch: Batch, move: Move) -> Batch:
        """A batch whose target images, and weights of their places, are moved.

        Args:
            batch: The batch.
            move: Moves planes; `smooth` says whether values between two are of use.
        """
        if not self.planes:
            return batch

        def target(value: tf.Tensor, output: str) -> tf.Tensor:
            return _moved(value, move, self.kinds[output] == "pictures")

        def weight(value: tf.Tensor, _: str) -> tf.Tensor:
            return value if value.shape.rank < _PLANE_RANK else _moved(value, move, False)

        return dataclasses.replace(
            batch,
            targets=self._each(batch.targets, target),
            weights=None if batch.weights is None else self._each(batch.weights, weight),
        )

    def _each(self, values: Any, change: Callable[[Any, str], Any]) -> Any:
        """Values by output, those of target images changed."""
        if isinstance(values, Mapping):
            return {
                name: change(value, name) if name in self.planes else value
                for name, value in values.items()
            }
        if isinstance(values, tuple | list):
            named = dict(zip(self.kinds, values, strict=True))
            return type(values)(self._each(named, change).values())
        return change(values, self.planes[0])


def overlay_of(task: Task, boxes: bool) -> Overlay:
    """What of the batches of a task lies over their images.

    Args:
        task: What the model is asked to do.
        boxes: Whether targets are boxes.
    """
    return Overlay({o.name: "boxes" if boxes else _kind_of(o) for o in task.outputs})


def _kind_of(output: OutputTask) -> Targets:
    if output.kind != "image-to-image":
        return "labels"
    decided = output.of_classes or metric_of(output.metric).of_classes or "hinge" in output.loss
    return "masks" if decided else "pictures"


def _moved(value: tf.Tensor, move: Move, smooth: bool) -> tf.Tensor:
    """Moved planes, which may lack the axis of channels."""
    import tensorflow as tf

    flat = value.shape.rank == _PLANE_RANK
    planes = move(value[..., None] if flat else value, smooth)
    if planes.dtype != value.dtype:
        planes = tf.cast(tf.round(planes) if value.dtype.is_integer else planes, value.dtype)
    return tf.ensure_shape(planes[..., 0] if flat else planes, value.shape)
