"""Random changes by Keras's own layers, their draws fixed by a seed that is a tensor."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edgepress.compress.data.augmentation.boxes import as_targets, boxes_in
from edgepress.compress.data.augmentation.span import Span
from edgepress.compress.kernel.registry import Table

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# What targets are to a change.
Targets = Literal["labels", "masks", "pictures", "boxes", "others"]
_UNIT = (0.0, 1.0)


@dataclass(frozen=True)
class LayerChange:
    """A layer of Keras and the number that sets it.

    Attributes:
        make: The layer of an amount, for values from 0 to 1.
        default: The amount where none is given.
        low: The least.
        high: The most.
        moves: Whether places change, so that target images change with them.
        colours: Whether values change, by rules for grey or RGB.
        mixes: Whether samples are mixed, and their targets with them.
        boxes: Whether boxes can move along.
    """

    make: Callable[[float], Any]
    default: float
    low: float = 0.0
    high: float = 1.0
    moves: bool = False
    colours: bool = False
    mixes: bool = False
    boxes: bool = False


def _layer(
    name: str, *amounts: str, fixed: Mapping[str, float] | None = None, ranged: bool = False
) -> Callable[[float], keras.Layer]:
    """What makes a layer of Keras whose named arguments are the amount."""

    def make(amount: float) -> keras.Layer:
        import keras

        settings: dict[str, Any] = {**dict.fromkeys(amounts, amount), **(fixed or {})}
        if ranged:
            settings["value_range"] = _UNIT
        return getattr(keras.layers, name)(**settings)

    return make


def _color(amount: float) -> keras.Layer:
    import keras

    # A turn of the hue by the share that brightness changes by would make another object of it.
    return keras.layers.RandomColorJitter(_UNIT, amount, amount, amount, amount / 4)


def _posterization(amount: float) -> keras.Layer:
    import keras

    return keras.layers.RandomPosterization(int(amount), value_range=_UNIT)


def _erasing(amount: float) -> keras.Layer:
    import keras

    return keras.layers.RandomErasing((amount, amount), value_range=_UNIT)


LAYERS: Table[LayerChange] = Table(
    "augmentation",
    {
        "randaugment": LayerChange(
            _layer("RandAugment", "factor", ranged=True), 0.5, moves=True, colours=True
        ),
        "mixup": LayerChange(_layer("MixUp", "alpha"), 0.2, 0.01, 100, mixes=True),
        "cutmix": LayerChange(_layer("CutMix", "factor"), 1.0, mixes=True),
        "rotation": LayerChange(_layer("RandomRotation", "factor"), 0.05, moves=True, boxes=True),
        "zoom": LayerChange(_layer("RandomZoom", "height_factor"), 0.2, moves=True, boxes=True),
        "translation": LayerChange(
            _layer("RandomTranslation", "height_factor", "width_factor"),
            0.1,
            moves=True,
            boxes=True,
        ),
        "shear": LayerChange(
            _layer("RandomShear", "x_factor", "y_factor"), 0.1, moves=True, boxes=True
        ),
        "perspective": LayerChange(
            _layer("RandomPerspective", "scale", fixed={"factor": 1.0}),
            0.2,
            moves=True,
            boxes=True,
        ),
        "elastic": LayerChange(
            _layer("RandomElasticTransform", "scale", fixed={"factor": 1.0}), 0.5, moves=True
        ),
        "color": LayerChange(_color, 0.2, colours=True),
        "hue": LayerChange(_layer("RandomHue", "factor", ranged=True), 0.1, colours=True),
        "saturation": LayerChange(
            _layer("RandomSaturation", "factor", ranged=True), 0.3, colours=True
        ),
        "sharpness": LayerChange(
            _layer("RandomSharpness", "factor", ranged=True), 0.3, colours=True
        ),
        "grayscale": LayerChange(_layer("RandomGrayscale", "factor"), 0.2, colours=True),
        "posterization": LayerChange(_posterization, 4, 1, 8, colours=True),
        "solarization": LayerChange(
            _layer("Solarization", "addition_factor", "threshold_factor", ranged=True),
            0.3,
            colours=True,
        ),
        "invert": LayerChange(_layer("RandomInvert", "factor", ranged=True), 0.2, colours=True),
        "blur": LayerChange(_layer("RandomGaussianBlur", "factor", ranged=True), 0.5, colours=True),
        "erasing": LayerChange(_erasing, 0.5, colours=True),
    },
)


class LayerStep:
    """A layer at work on batches.

    Args:
        known: The change.
        amount: Its number.
        span: The values that images have.
        targets: What targets are.
        shape: (height, width, channels) of the images; None where a size is open.
    """

    def __init__(
        self,
        known: LayerChange,
        amount: float,
        span: Span,
        targets: Targets,
        shape: tuple[int | None, ...],
    ) -> None:
        self._known, self._span, self._targets = known, span, targets
        self._layer = known.make(amount)
        if targets == "boxes" and known.boxes:
            self._layer.bounding_box_format = "xyxy"
            # What is reflected into the border would be shown twice, and boxed once.
            self._layer.fill_mode = "constant"
        self._layer.build((None, *shape[:2], 3 if known.colours else shape[2]))

    def __call__(self, images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tuple[Any, Any]:
        """Give the changed batch.

        Args:
            images: (batch, height, width, channels) tensor.
            targets: (batch, …) tensor.
            seed: (2,) integer tensor.
        """
        return self._traced(images, targets, seed)

    @functools.cached_property
    def _traced(self) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        """The change as a graph, made once rather than in every epoch: some take seconds."""
        import tensorflow as tf

        return tf.function(self._changed, autograph=False, reduce_retracing=True)

    def _changed(self, images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tuple[Any, Any]:
        import tensorflow as tf

        seeds = _fixed_seeds(seed)
        for layer in (self._layer, *self._layer._flatten_layers(include_self=False)):
            # Layers draw from a variable of their own otherwise, which a resumed run lacks.
            layer._get_seed_generator = lambda *_, **__: seeds
        unit = self._span.to_unit(tf.cast(images, tf.float32))
        grey = self._known.colours and unit.shape[-1] == 1
        unit = tf.repeat(unit, 3, -1) if grey else unit
        drawn = self._layer.get_random_transformation(unit, training=True, seed=seeds)
        unit = self._layer.transform_images(unit, drawn)
        unit = tf.reduce_mean(unit, -1, keepdims=True) if grey else unit
        changed = _as_type(self._span.from_unit(unit), images.dtype)
        return tf.ensure_shape(changed, images.shape), self._answered(targets, drawn, unit)

    def _answered(self, targets: Any, drawn: dict[str, Any], images: tf.Tensor) -> Any:
        """The targets of changed images."""
        import tensorflow as tf

        if self._targets == "boxes":
            if not self._known.moves:
                return targets
            moved = boxes_in(targets).changed(self._layer, drawn, tf.shape(images))
            return as_targets(moved, targets)
        if self._targets == "labels" and self._known.mixes:
            rows = tf.reshape(tf.cast(targets, tf.float32), [tf.shape(targets)[0], -1])
            mixed = self._layer.transform_labels(rows, drawn)
            return tf.ensure_shape(tf.reshape(mixed, tf.shape(targets)), targets.shape)
        if self._targets not in ("masks", "pictures") or not (
            self._known.moves or self._known.mixes
        ):
            return targets
        planes = tf.cast(targets, tf.float32)
        planes = planes[..., None] if flat(targets) else planes
        if "batch_masks" in drawn:  # of the images' channels; targets may have others
            drawn = {**drawn, "batch_masks": drawn["batch_masks"][..., :1]}
        smooth = self._targets == "pictures" and not self._known.colours
        transform = (
            self._layer.transform_images if smooth else self._layer.transform_segmentation_masks
        )
        moved = _as_type(transform(planes, drawn), targets.dtype)
        return tf.ensure_shape(moved[..., 0] if flat(targets) else moved, targets.shape)


def flat(targets: tf.Tensor) -> bool:
    """Whether target images have no axis of channels."""
    return len(targets.shape) == 3


def _as_type(values: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    import tensorflow as tf

    return tf.cast(tf.round(values) if dtype.is_integer else values, dtype)


def _fixed_seeds(seed: tf.Tensor) -> keras.random.SeedGenerator:
    """A generator of Keras's whose seeds follow from a tensor, one after another."""
    import keras
    import tensorflow as tf

    class FixedSeeds(keras.random.SeedGenerator):
        def __init__(self) -> None:
            # Not Keras's own: it would make a variable, which a graph of `tf.data` can't.
            self._drawn = 0

        def next(self, ordered: bool = True) -> tf.Tensor:
            del ordered
            self._drawn += 1
            return tf.random.experimental.stateless_fold_in(seed, self._drawn)

    return FixedSeeds()
