"""A model's identity: what it computes, not how its file was written."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

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


def weights_hash(model: keras.Model) -> str:
    """Hash of the weights alone: names that Keras counts up differ from process to process."""
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(f"{variable.shape}".encode())
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()
