"""Random changes by a function of the user's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.data.augmentation.batch import Batch
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import running
from edgepress.compress.models.user_code import resolve_reference

if TYPE_CHECKING:
    import tensorflow as tf

_SEED = (3, 5)


class OwnStep:
    """A function of the user's at work on batches: (images, targets, seed) → (images, targets).

    Args:
        reference: The function, as `file.py:function`.
    """

    def __init__(self, reference: str) -> None:
        self.reference = reference
        self._function = resolve_reference(reference)

    def __call__(self, batch: Batch, seed: tf.Tensor) -> Batch:
        """Give the changed batch.

        Args:
            batch: As the model takes it; its images are given as a tensor, several inputs by name.
            seed: (2,) integer tensor for TensorFlow's stateless random functions.
        """
        import tensorflow as tf

        changed, targets = self._function(_given(batch), batch.targets, seed)
        inputs = self._by_input(changed, batch)
        kept = {k: tf.ensure_shape(inputs[k], v.shape) for k, v in batch.inputs.items()}
        return dataclasses.replace(batch, inputs=kept, targets=targets)

    def check(self, batch: Batch) -> None:
        """Run the function on a batch, twice.

        Args:
            batch: As for a call.

        Raises:
            InputError: It fails, gives something else than a batch of the same shape, or gives
                another one each time.
        """
        import tensorflow as tf

        found = []
        for _ in range(2):
            with running(f"augmentation '{self.reference}'"):
                found.append(self._function(_given(batch), batch.targets, tf.constant(_SEED)))
        pair = found[0]
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InputError(
                f"augmentation '{self.reference}' returns {type(pair).__name__}",
                "return (images, targets)",
            )
        first, again = (
            {name: np.asarray(value) for name, value in self._by_input(one[0], batch).items()}
            for one in found
        )
        for name, given in batch.inputs.items():
            if first[name].shape != tuple(given.shape):
                raise InputError(
                    f"augmentation '{self.reference}' makes {first[name].shape} of images of"
                    f" {tuple(given.shape)}",
                    "keep their shape",
                )
        if any(not np.array_equal(first[name], again[name]) for name in first):
            raise InputError(
                f"augmentation '{self.reference}' changes a batch otherwise each time, so no"
                " training could be repeated or resumed",
                "draw from the seed that it is given, as tf.random.stateless_uniform does",
            )

    def _by_input(self, changed: Any, batch: Batch) -> Mapping[str, Any]:
        """What it gave for each input."""
        if len(batch.inputs) == 1 and not isinstance(changed, Mapping):
            return dict.fromkeys(batch.inputs, changed)
        if not isinstance(changed, Mapping) or changed.keys() != batch.inputs.keys():
            raise InputError(
                f"augmentation '{self.reference}' doesn't give each of the inputs"
                f" {', '.join(batch.inputs)}",
                "return ({name: tensor}, targets), as it gets them",
            )
        return changed


def _given(batch: Batch) -> Any:
    """Images as the function takes them."""
    return dict(batch.inputs) if len(batch.inputs) > 1 else next(iter(batch.inputs.values()))
