"""`strip`: what only training needs is removed, what the model computes stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.models.rebuilding.copying import (
    clone,
    copy_layer,
    copy_model,
    fresh_inputs,
)
from edgepress.compress.processes.scratch import scratch_folder

if TYPE_CHECKING:
    import keras

# Layers that hand their input on unchanged outside training. Exactly these classes: a subclass may
# act at inference too, as Monte Carlo dropout does.
_INERT = frozenset(
    {
        "ActivityRegularization",
        "AlphaDropout",
        "AugMix",
        "CutMix",
        "Dropout",
        "GaussianDropout",
        "GaussianNoise",
        "MixUp",
        "RandAugment",
        "RandomBrightness",
        "RandomColorDegeneration",
        "RandomColorJitter",
        "RandomContrast",
        "RandomElasticTransform",
        "RandomErasing",
        "RandomFlip",
        "RandomGaussianBlur",
        "RandomGrayscale",
        "RandomHue",
        "RandomInvert",
        "RandomPerspective",
        "RandomPosterization",
        "RandomRotation",
        "RandomSaturation",
        "RandomSharpness",
        "RandomShear",
        "RandomTranslation",
        "RandomZoom",
        "SpatialDropout1D",
        "SpatialDropout2D",
        "SpatialDropout3D",
    }
)


def strip(model: keras.Model) -> keras.Model:
    """Give the plain model inside a model that was trained, pruned or clustered.

    Dropout, noise and augmentation layers are removed, optimizer and losses are left behind.
    TFMOT's pruning and clustering wrappers (on legacy `tf_keras` models) are taken off, their
    masks applied, and the model is carried into Keras 3. Names of all other layers stay.

    Args:
        model: A built Keras model, or a legacy `tf_keras` model; it stays as it is.

    Returns:
        A new Keras 3 model, not compiled, with the same outputs.

    Raises:
        InputError: The model can't be rebuilt.
    """
    import keras

    if not isinstance(model, keras.Model):
        return _strip_legacy(model)
    if isinstance(model, keras.Sequential):
        return _strip_sequential(model)
    if hasattr(model, "_nodes_by_depth"):
        return _strip_functional(model)
    return copy_model(model)


def is_inert(layer: keras.Layer) -> bool:
    """Whether a layer does nothing outside training."""
    import keras

    if type(layer) is keras.layers.TimeDistributed:
        return is_inert(layer.layer)
    name = type(layer).__name__
    return name in _INERT and type(layer) is getattr(keras.layers, name, None)


def _strip_sequential(model: keras.Model) -> keras.Model:
    import keras

    kept = [layer for layer in model.layers if not is_inert(layer)]
    pairs = [(layer, _clone(layer)) for layer in kept or model.layers]
    first = model.inputs[0]
    name = first._keras_history.operation.name
    start = keras.Input(batch_shape=first.shape, dtype=first.dtype, name=name)
    plain = keras.Sequential([start, *(new for _, new in pairs)], name=model.name)
    _copy_weights(pairs)
    plain.trainable = model.trainable
    return plain


def _strip_functional(model: keras.Model) -> keras.Model:
    import keras

    ends = {id(tensor._keras_history.operation) for tensor in model.outputs}
    pairs: list[tuple[Any, Any]] = []
    origin: dict[int, Any] = {}

    def again(operation: keras.Operation) -> keras.Operation:
        if not isinstance(operation, keras.Layer):
            return operation
        new = _clone(operation)
        pairs.append((operation, new))
        origin[id(new)] = operation
        return new

    def call(
        operation: keras.Operation, *args: keras.KerasTensor, **options: Any
    ) -> keras.KerasTensor:
        old = origin.get(id(operation), operation)
        if id(old) not in ends and _is_idle(old, args):
            return args[0]
        return operation(*args, **options)

    plain = clone(model, fresh_inputs(model), clone_function=again, call_function=call)
    _copy_weights([(old, new) for old, new in pairs if new.built])
    return plain


def _is_idle(layer: keras.Layer, args: tuple[Any, ...]) -> bool:
    """Whether this call of a layer hands its argument on as it is, not even cast."""
    return is_inert(layer) and getattr(args[0], "dtype", None) == layer.compute_dtype


def _clone(layer: keras.Layer) -> keras.Layer:
    import keras

    if isinstance(layer, keras.Model):
        return strip(layer)
    return copy_layer(layer)


def _copy_weights(pairs: list[tuple[keras.Layer, keras.Layer]]) -> None:
    for old, new in pairs:
        for source, target in zip(old.weights, new.weights, strict=True):
            target.assign(source)


def _strip_legacy(model: keras.Model) -> keras.Model:
    """Take TFMOT's wrappers off a `tf_keras` model and carry the rest into Keras 3."""
    import tf_keras

    if not isinstance(model, tf_keras.Model):
        raise InputError(f"strip takes a Keras model, not a {type(model).__name__}")
    from tensorflow_model_optimization.clustering.keras import strip_clustering
    from tensorflow_model_optimization.sparsity.keras import strip_pruning

    from edgepress.compress.models import legacy

    try:
        plain = strip_clustering(strip_pruning(model))
    except ValueError as error:
        raise InputError(
            f"model '{model.name}' can't be stripped: {error}",
            "only sequential and functional legacy models carry TFMOT's wrappers",
        ) from error
    with scratch_folder() as folder:
        path = folder / "model.h5"
        plain.save(path, include_optimizer=False)
        return legacy.carry(path).model
