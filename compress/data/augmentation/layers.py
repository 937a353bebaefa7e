"""Random changes by Keras's own layers, their draws fixed by a seed that is a tensor."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgepress.compress.data.augmentation.batch import Batch, Overlay
from edgepress.compress.data.augmentation.boxes import as_targets, boxes_in
from edgepress.compress.data.augmentation.span import Span
from edgepress.compress.kernel.registry import Table

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

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
        names: Of the inputs that change, all by the same draw.
        over: What of a batch lies over them.
        shape: (height, width, channels) of the first; None where a size is open.
    """

    def __init__(
        self,
        known: LayerChange,
        amount: float,
        span: Span,
        names: Sequence[str],
        over: Overlay,
        shape: tuple[int | None, ...],
    ) -> None:
        self._known, self._span, self._names, self._over = known, span, tuple(names), over
        self._layer = known.make(amount)
        if over.boxes and known.boxes:
            self._layer.bounding_box_format = "xyxy"
            # What is reflected into the border would be shown twice, and boxed once.
            self._layer.fill_mode = "constant"
        self._layer.build((None, *shape[:2], 3 if known.colours else shape[2]))

    def __call__(self, batch: Batch, seed: tf.Tensor) -> Batch:
        """Give the changed batch.

        Args:
            batch: With (batch, height, width, channels) tensors among its inputs.
            seed: (2,) integer tensor.
        """
        return Batch(*self._traced(batch.inputs, batch.targets, batch.weights, seed))

    @functools.cached_property
    def _traced(self) -> Callable[..., tuple[Any, Any, Any]]:
        """The change as a graph, made once rather than in every epoch: some take seconds."""
        import tensorflow as tf

        def changed(inputs: Any, targets: Any, weights: Any, seed: tf.Tensor) -> tuple[Any, ...]:
            found = self._changed(Batch(inputs, targets, weights), seed)
            return found.inputs, found.targets, found.weights

        return tf.function(changed, autograph=False, reduce_retracing=True)

    def _changed(self, batch: Batch, seed: tf.Tensor) -> Batch:
        seeds = _fixed_seeds(seed)
        for layer in (self._layer, *self._layer._flatten_layers(include_self=False)):
            # Layers draw from a variable of their own otherwise, which a resumed run lacks.
            layer._get_seed_generator = lambda *_, **__: seeds
        units = {name: self._to_unit(batch.inputs[name]) for name in self._names}
        first = units[self._names[0]]
        drawn = self._layer.get_random_transformation(first, training=True, seed=seeds)
        images = {
            name: self._from_unit(self._transformed(unit, first, drawn), batch.inputs[name])
            for name, unit in units.items()
        }
        return self._answered(batch, drawn, first).changed(**images)

    def _to_unit(self, images: tf.Tensor) -> tf.Tensor:
        """Images from 0 to 1, RGB where colours change."""
        import tensorflow as tf

        unit = self._span.to_unit(tf.cast(images, tf.float32))
        return tf.repeat(unit, 3, -1) if self._known.colours and unit.shape[-1] == 1 else unit

    def _from_unit(self, unit: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """As the model sees them, in the number type and shape of the images that they were."""
        import tensorflow as tf

        grey = self._known.colours and like.shape[-1] == 1
        unit = tf.reduce_mean(unit, -1, keepdims=True) if grey else unit
        values = self._span.from_unit(unit)
        values = tf.cast(tf.round(values) if like.dtype.is_integer else values, like.dtype)
        return tf.ensure_shape(values, like.shape)

    def _transformed(self, planes: tf.Tensor, first: tf.Tensor, drawn: Any) -> Any:
        """Planes changed by what was drawn for the first images."""
        return self._layer.transform_images(planes, _for_channels(drawn, planes, first))

    def _answered(self, batch: Batch, drawn: Any, images: tf.Tensor) -> Batch:
        """The targets and weights of changed images."""
        import tensorflow as tf

        targets: Any = batch.targets
        if self._over.boxes:
            if not self._known.moves:
                return batch
            moved = boxes_in(targets).changed(self._layer, drawn, tf.shape(images))
            return dataclasses.replace(batch, targets=as_targets(moved, targets))
        if not (self._known.moves or self._known.mixes):
            return batch
        if self._known.mixes and not self._over.planes:
            rows = tf.reshape(tf.cast(targets, tf.float32), [tf.shape(targets)[0], -1])
            mixed = tf.reshape(self._layer.transform_labels(rows, drawn), tf.shape(targets))
            return dataclasses.replace(batch, targets=tf.ensure_shape(mixed, targets.shape))

        def move(planes: tf.Tensor, smooth: bool) -> tf.Tensor:
            layer = self._layer
            if smooth and not self._known.colours:
                transform = layer.transform_images
            else:
                transform = layer.transform_segmentation_masks
            values = tf.cast(planes, tf.float32)
            return transform(values, _for_channels(drawn, values, images))

        return self._over.moved(batch, move)


def _for_channels(drawn: Any, planes: tf.Tensor, images: tf.Tensor) -> Any:
    """What was drawn for images, for planes of other channels; of many layers it is no mapping."""
    if (
        not isinstance(drawn, Mapping)
        or "batch_masks" not in drawn
        or planes.shape[-1] == images.shape[-1]
    ):
        return drawn
    return {**drawn, "batch_masks": drawn["batch_masks"][..., :1]}


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
