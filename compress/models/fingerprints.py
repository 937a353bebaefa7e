"""A model's identity: what it computes, not how its file was written."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras


def fingerprint(model: keras.Model) -> str:
    """A key that is equal for two models of the same structure with the same weights.

    Args:
        model: A built Keras model.

    Returns:
        32 hexadecimal digits of a SHA-256 over layer types, tensor names and weight bytes.
    """
    digest = hashlib.sha256()
    for layer in model.layers:
        digest.update(f"{type(layer).__name__}:{layer.name};".encode("utf-8", "surrogatepass"))
    for variable in model.weights:
        value = variable.numpy()
        digest.update(
            f"{variable.path}:{value.shape}:{value.dtype};".encode("utf-8", "surrogatepass")
        )
        digest.update(value.tobytes())
    return digest.hexdigest()[:32]


def configuration(model: keras.Model) -> str | None:
    """All that a model's layers are configured by, as text; None where one can't say it.

    Values that no text is known for count by their types: names of objects in memory would differ
    from process to process.
    """
    import keras

    try:
        held = keras.saving.serialize_keras_object(model)
    except (NotImplementedError, TypeError, ValueError):
        return None
    # A file has lists where the model that was saved has tuples.
    return json.dumps([held["class_name"], held["config"]], default=_as_text)


def _as_text(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray) else type(value).__name__


def weights_hash(model: keras.Model) -> str:
    """Hash of the weights alone: names that Keras counts up differ from process to process."""
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(f"{variable.shape}".encode())
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()
