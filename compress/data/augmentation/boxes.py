"""Boxes that move with their pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested

# A box of which less than this is left in the picture is left out, as what it held hardly shows.
_LEAST = 0.25


@dataclass(frozen=True)
class Boxes:
    """The boxes of a batch of pictures.

    Attributes:
        rows: (batch, most, 5 or 6) x_min, y_min, x_max, y_max as shares of the picture, and the
            class; rows whose class is below 0 are none.
    """

    rows: tf.Tensor

    def mirrored(self, chosen: tf.Tensor, axis: int) -> Boxes:
        """Mirrored where chosen.

        Args:
            chosen: (batch, 1, 1, 1) truth values.
            axis: 1 for top to bottom, 2 for left to right.
        """
        import tensorflow as tf

        left, top, right, bottom = tf.unstack(self.rows[..., :4], axis=-1)
        if axis == 2:
            left, right = 1 - right, 1 - left
        else:
            top, bottom = 1 - bottom, 1 - top
        corners = tf.stack([left, top, right, bottom], -1)
        return self._with(tf.where(chosen[:, :, 0], corners, self.rows[..., :4]))

    def shifted(self, down: tf.Tensor, right: tf.Tensor) -> Boxes:
        """Shifted, and cut at the picture's edges.

        Args:
            down: (batch,) shares of the picture's height.
            right: (batch,) shares of its width.
        """
        import tensorflow as tf

        by = tf.cast(tf.stack([right, down, right, down], -1), self.rows.dtype)[:, None]
        return self._with(tf.clip_by_value(self.rows[..., :4] + by, 0.0, 1.0))

    def changed(self, layer: keras.Layer, drawn: Mapping[str, Any], shape: tf.Tensor) -> Boxes:
        """Moved by a layer of Keras whose boxes are corners in pixels.

        Args:
            layer: The layer.
            drawn: What it drew for this batch.
            shape: (batch, height, width, channels).
        """
        import tensorflow as tf

        height, width = (tf.cast(length, tf.float32) for length in (shape[1], shape[2]))
        sizes = tf.stack([width, height, width, height])
        given = {
            "boxes": tf.cast(self.rows[..., :4], tf.float32) * sizes,
            "labels": tf.cast(self.rows[..., 4], tf.float32),
        }
        moved = layer.transform_bounding_boxes(given, drawn)["boxes"] / sizes
        return self._with(tf.cast(moved, self.rows.dtype))

    def _with(self, corners: tf.Tensor) -> Boxes:
        """With other corners; rows that are none, and boxes that hardly show, become none."""
        import tensorflow as tf

        shown = _areas(corners) >= _LEAST * _areas(self.rows[..., :4])
        there = (self.rows[..., 4] >= 0) & shown & (_areas(corners) > 0)
        rows = tf.concat([corners, self.rows[..., 4:]], -1)
        return Boxes(tf.where(there[..., None], rows, -tf.ones_like(rows)))


def _areas(corners: tf.Tensor) -> tf.Tensor:
    return (corners[..., 2] - corners[..., 0]) * (corners[..., 3] - corners[..., 1])


def boxes_in(targets: Nested) -> Boxes:
    """The boxes in the targets of a batch, which are the same for every output."""
    return Boxes(next(iter(targets.values())) if isinstance(targets, Mapping) else targets)


def as_targets(boxes: Boxes, like: Nested) -> Any:
    """Boxes as the targets that they came from."""
    return dict.fromkeys(like, boxes.rows) if isinstance(like, Mapping) else boxes.rows
