"""Random changes by a function of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import running
from edgepress.compress.models.user_code import resolve_reference

if TYPE_CHECKING:
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested

_SEED = (3, 5)


class OwnStep:
    """A function of the user's at work on batches: (images, targets, seed) → (images, targets).

    Args:
        reference: The function, as `file.py:function`.
    """

    def __init__(self, reference: str) -> None:
        self.reference = reference
        self._function = resolve_reference(reference)

    def __call__(self, images: tf.Tensor, targets: Nested, seed: tf.Tensor) -> tuple[Any, Any]:
        """Give the changed batch.

        Args:
            images: (batch, height, width, channels) tensor, as the model takes it.
            targets: (batch, …) tensor.
            seed: (2,) integer tensor for TensorFlow's stateless random functions.
        """
        import tensorflow as tf

        changed, answers = self._function(images, targets, seed)
        return tf.ensure_shape(changed, images.shape), answers

    def check(self, images: tf.Tensor, targets: Nested) -> None:
        """Run the function on a batch, twice.

        Args:
            images: As for a call.
            targets: As for a call.

        Raises:
            InputError: It fails, gives something else than a batch of the same shape, or gives
                another one each time.
        """
        import tensorflow as tf

        found = []
        for _ in range(2):
            with running(f"augmentation '{self.reference}'"):
                found.append(self._function(images, targets, tf.constant(_SEED)))
        pair = found[0]
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InputError(
                f"augmentation '{self.reference}' returns {type(pair).__name__}",
                "return (images, targets)",
            )
        first, again = (np.asarray(one[0]) for one in found)
        if first.shape != tuple(images.shape):
            raise InputError(
                f"augmentation '{self.reference}' makes {first.shape} of images of"
                f" {tuple(images.shape)}",
                "keep their shape",
            )
        if not np.array_equal(first, again):
            raise InputError(
                f"augmentation '{self.reference}' changes a batch otherwise each time, so no"
                " training could be repeated or resumed",
                "draw from the seed that it is given, as tf.random.stateless_uniform does",
            )
