"""A loss of the user's own: a function (targets, outputs) in a file or module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import reason, running
from edgepress.compress.models.user_code import resolve_object, told_apart

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

Array = NDArray[Any]
# Losses of Keras's whose targets have another shape than the outputs, and the metric that goes with
# each where there is one.
OTHER_SHAPES = {"ctc": "cer", "circle": ""}
_FEW = 4


@dataclass(frozen=True)
class OwnLoss:
    """A function (targets, outputs) that gives a loss, or one for each sample.

    Attributes:
        function: The user's.
        reference: How it was named.
        as_stored: Whether it takes targets as the data stores them; else as floats, which is how
            Keras calls a loss.
    """

    function: Callable[[Any, Any], Any]
    reference: str
    as_stored: bool = False

    def __call__(
        self, target: tf.Tensor, output: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The loss of a batch: the mean over samples.

        Args:
            target: (batch, …) tensor of any shape.
            output: (batch, …) tensor.
            sample_weight: (batch, …) tensor or None.

        Raises:
            InputError: The function fails.
        """
        import tensorflow as tf
        from keras.src.losses.loss import reduce_weighted_values

        found = tf.cast(tf.convert_to_tensor(self.call(target, output)), tf.float32)
        return reduce_weighted_values(found, sample_weight)

    def call(self, target: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        """What the function gives; arguments and errors as above."""
        import tensorflow as tf

        given = target if self.as_stored else tf.cast(target, tf.float32)
        with running(f"loss '{self.reference}'"), told_apart():
            return self.function(given, output)


@dataclass(frozen=True)
class NoLoss:
    """Stands for the loss of a model that is only measured."""

    def __call__(self, *_: Any, **__: Any) -> tf.Tensor:
        """Refuse to be taken.

        Raises:
            InputError: Always.
        """
        raise InputError(
            "the data holds boxes, and there is no loss to train by",
            "give --loss file.py:function of (boxes, outputs)",
        )


def own_loss(reference: str) -> OwnLoss | None:
    """The loss that `file.py:name` names: a function, or a Keras loss or a class of such.

    Raises:
        InputError: There is no such thing, or it can't be called.
    """
    import keras

    found = resolve_object(reference)
    if isinstance(found, type) and issubclass(found, keras.losses.Loss):
        with running(f"loss '{reference}'"), told_apart():
            found = found()
    if isinstance(found, keras.losses.Loss):
        return found
    if not callable(found):
        raise InputError(
            f"loss '{reference}' is no function",
            "give a function of (targets, outputs), or a keras.losses.Loss",
        )
    return OwnLoss(found, reference)


def fitted(
    loss: keras.losses.Loss, targets: Array, shape: Sequence[int | None], output: str
) -> Any:
    """A loss that was tried on some targets.

    Args:
        loss: As `own_loss` gives it, or one of Keras's.
        targets: (samples, …) of an output.
        shape: Of one sample of the output; sizes that are free are taken as 8.
        output: Its name.

    Raises:
        InputError: It fails on such targets.
    """
    import tensorflow as tf

    few = tf.convert_to_tensor(np.asarray(targets)[:_FEW])
    sizes = [8 if size is None else size for size in shape]
    outputs = tf.fill((len(few), *sizes), 1 / max(sizes[-1] if sizes else 1, 2))
    problem: Exception | None = None
    forms = [loss, replace(loss, as_stored=True)] if isinstance(loss, OwnLoss) else [loss]
    name = getattr(loss, "reference", None) or getattr(loss, "name", type(loss).__name__)
    given = tf.cast(outputs, tf.float32)
    for form in forms:
        try:
            with tf.GradientTape() as tape:
                tape.watch(given)
                found = form(few, given)
        except Exception as error:  # whatever a loss says to targets that it isn't made for
            problem = problem or error
            continue
        if tape.gradient(found, given) is None:
            raise InputError(
                f"loss '{name}' doesn't depend on the outputs as TensorFlow sees it, so nothing can"
                " be learned by it",
                "compute it of the outputs by differentiable operations",
            )
        return form
    assert problem is not None
    if isinstance(problem, InputError):
        raise problem
    raise InputError(
        f"loss '{name}' fails on targets of shape {few.shape[1:]} and output '{output}' of"
        f" {tuple(shape)}: {reason(problem)[:160]}",
        "give targets as it takes them, or another --loss",
    )


def is_for_distances(targets: Array, shape: Sequence[int | None], bare: bool) -> bool:
    """Whether class numbers are those of samples to tell apart, not of an output's values.

    So a triplet loss takes them: an embedding has no value for each class.

    Args:
        targets: (samples, …) of an output.
        shape: Of one sample of it.
        bare: Whether it has passed no softmax.
    """
    whole = np.issubdtype(targets.dtype, np.integer)
    single = targets.ndim == 1 or targets.shape[1:] == (1,)
    if not (bare and whole and single and targets.size and len(shape) == 1):
        return False
    size, classes = shape[0] or 0, int(targets.max()) + 1
    return size > 1 and (classes > size or 2 * classes <= size)
