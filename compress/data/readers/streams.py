"""Data that comes as `tf.data.Dataset`s: a user's function, or a prepared TFDS directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edgepress.compress.data.naming import by_name, weights_by_name
from edgepress.compress.data.readers.labels import check_outputs, check_places, check_weights
from edgepress.compress.data.readers.stream_checks import ENDS, check_elements, count_within
from edgepress.compress.data.tasks import output_names
from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested, SampleWeights

Array = NDArray[Any]
# So many samples of a stream are looked at for weights that no loss takes.
_LOOKED_AT = 256


@dataclass(frozen=True)
class StreamSource:
    """A finite `tf.data.Dataset` of (inputs, targets[, weights]), one sample an element.

    A stream can't be indexed: shuffled passes draw from a buffer, seeded by the order asked for.

    Attributes:
        samples: The dataset, unbatched; inputs by name.
        size: Number of samples.
        shuffle: Whether training passes are shuffled here; a user's own order is kept.
    """

    samples: Any
    size: int
    shuffle: bool

    def batches(self, order: Array | None, batch_size: int) -> tf.data.Dataset:
        """A `tf.data.Dataset` of batches."""
        batches = self.weighted_batches(order, batch_size)
        return (
            batches.map(lambda inputs, targets, _: (inputs, targets)) if self.weighted else batches
        )

    @property
    def weighted(self) -> bool:
        """Whether samples have weights."""
        return len(self.samples.element_spec) > 2

    def weighted_batches(self, order: Array | None, batch_size: int) -> tf.data.Dataset:
        """As `batches`, with the weights behind each batch's targets where there are any."""
        samples = self.samples
        if order is not None and self.shuffle:
            seed = int(order[0]) * 65_537 + int(order[-1])
            samples = samples.shuffle(10_000, seed=seed, reshuffle_each_iteration=False)
        return samples.batch(batch_size)

    def labels(self) -> Array | None:
        """Unknown without a pass over the stream."""
        return None

    @property
    def ahead(self) -> tf.data.Dataset:
        """The samples that a training sees, one an element, whatever an epoch is."""
        return self.samples


def is_stream(value: object) -> bool:
    """Whether a value is a `tf.data.Dataset`."""
    import tensorflow as tf

    return isinstance(value, tf.data.Dataset)


def named_stream(stream: tf.data.Dataset, model: keras.Model, where: str) -> tf.data.Dataset:
    """A stream with its inputs by name, checked against a model's.

    Args:
        stream: `tf.data.Dataset` of (inputs, targets) or (inputs, targets, weights), batched or
            not.
        model: The Keras model.
        where: What it comes from, for messages.

    Raises:
        InputError: Elements are neither pairs nor triples, or shapes don't fit.
    """
    import tensorflow as tf

    spec = stream.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3):
        raise InputError(
            f"{where}: elements must be pairs of (inputs, targets), or triples with sample weights",
            "as with .map(lambda sample: (sample['x'], sample['y']))",
        )
    check_elements(spec, where)
    if any(part.dtype == tf.string for part in tf.nest.flatten(spec[1])):
        raise InputError(
            f"{where}: targets are texts",
            "number the classes from 0, as with .map(lambda x, y: (x, lookup(y)))",
        )
    names = [t.name for t in model.inputs]
    samples_axis = int(is_batched(stream, model))

    def counted(weights: tf.Tensor) -> tf.Tensor:
        """Weights as floats, a column of one for each sample as a row."""
        column = weights.shape.rank == samples_axis + 1 and weights.shape[-1] == 1
        return tf.cast(weights[..., 0] if column else weights, tf.float32)

    def name(
        inputs: Mapping[str, tf.Tensor], targets: Nested, *weights: SampleWeights | None
    ) -> tuple[Any, ...]:
        inputs, targets = by_name(inputs, targets, model)
        named = [weights_by_name(part, model) for part in weights if part is not None]
        counting = tf.nest.map_structure(counted, named)
        if isinstance(inputs, dict):
            return {n: inputs[n] for n in names if n in inputs}, targets, *counting
        return dict(zip(names, tf.nest.flatten(inputs), strict=True)), targets, *counting

    named = stream.map(name)
    _check_weight_shapes(named, model, where)
    return named


def _check_weight_shapes(named: tf.data.Dataset, model: keras.Model, where: str) -> None:
    """Hold the weights of a stream against the outputs and their targets."""
    import tensorflow as tf

    _, targets, *weights = named.element_spec
    for part in weights:
        check_outputs(part, output_names(model), where)
        if not is_batched(named, model):
            part, targets = tf.nest.map_structure(_one_of_many, (part, targets))
        check_places(part, targets, where)


def _one_of_many(spec: tf.TensorSpec) -> tf.TensorSpec:
    """The specification of batches of samples of one."""
    import tensorflow as tf

    return tf.TensorSpec([None, *spec.shape], spec.dtype)


def is_batched(stream: tf.data.Dataset, model: keras.Model) -> bool:
    """Whether elements of a stream are batches of a model's inputs."""
    import tensorflow as tf

    rank = tf.nest.flatten(stream.element_spec[0])[0].shape.rank
    return bool(rank == len(model.inputs[0].shape))


def stream_source(
    stream: tf.data.Dataset, model: keras.Model, where: str, shuffle: bool = False
) -> StreamSource:
    """A stream checked against a model's inputs.

    Args:
        stream: `tf.data.Dataset` of (inputs, targets) or (inputs, targets, weights), batched or
            not.
        model: The Keras model.
        where: What it comes from, for messages.
        shuffle: Whether training passes are shuffled here.

    Raises:
        InputError: Elements are neither pairs nor triples, shapes don't fit, or the stream is empty
            or endless.
    """
    import tensorflow as tf

    named = named_stream(stream, model, where)
    named = named.unbatch() if is_batched(named, model) else named
    _check_shapes(named.element_spec[0], model, where)
    source = StreamSource(_shaped(named, model), _count(named, where), shuffle)
    if source.weighted:
        weights = next(source.weighted_batches(None, _LOOKED_AT).as_numpy_iterator())[2]
        for part in tf.nest.flatten(weights):
            check_weights(part, f"{where}: sample_weight")
    return source


def _shaped(named: tf.data.Dataset, model: keras.Model) -> tf.data.Dataset:
    """The stream with the shapes of the model's inputs, where it leaves them open."""
    import tensorflow as tf

    shapes = {t.name: t.shape[1:] for t in model.inputs}

    def shaped(inputs: Mapping[str, tf.Tensor], *rest: tf.Tensor) -> tuple[Any, ...]:
        return {n: tf.ensure_shape(v, shapes[n]) for n, v in inputs.items()}, *rest

    return named.map(shaped)


def _check_shapes(spec: Mapping[str, tf.TensorSpec], model: keras.Model, where: str) -> None:
    for tensor in model.inputs:
        if tensor.name not in spec:
            raise InputError(
                f"{where}: samples have no value for the model's input '{tensor.name}'",
                f"name their entries after the inputs {', '.join(t.name for t in model.inputs)}",
            )
        shape = spec[tensor.name].shape
        if not shape.is_compatible_with(tensor.shape[1:]):
            raise InputError(
                f"{where}: samples have shape {tuple(shape)}, the model's input '{tensor.name}'"
                f" takes {tuple(tensor.shape[1:])}"
            )


def _count(stream: tf.data.Dataset, where: str) -> int:
    size = int(stream.cardinality())
    if size == -1:
        raise InputError(f"{where}: the dataset never ends", ENDS)
    if size < 0:
        size = count_within(stream, where)
    if size == 0:
        raise InputError(f"{where}: there are no samples")
    return size


def tfds_streams(name: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Streams by split and class names of a prepared TensorFlow Datasets directory.

    Nothing is downloaded.

    Raises:
        InputError: The package or the prepared data set is missing.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise InputError(
            f"tfds:{name} needs the package tensorflow-datasets", "pip install tensorflow-datasets"
        ) from None
    try:
        builder = tfds.builder(name)
        streams = builder.as_dataset(as_supervised=True, shuffle_files=False)
        label = builder.info.features["label"]
    except Exception as error:
        raise InputError(
            f"tfds:{name} can't be opened: {error}", "prepare it once with tfds build or tfds.load"
        ) from None
    wanted = {"train": "train", "validation": "val", "test": "test"}
    found = {wanted[k]: v for k, v in streams.items() if k in wanted}
    return found, tuple(getattr(label, "names", ()))
