"""Matching what named layers give with what the teacher's layers give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.registry import near_names
from edgepress.compress.training.freezing.select import layer_refs

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Tensor

_SMALLEST = 1e-12


class Recorder:
    """Keeps what layers of a model gave in its last call, nested layers too.

    A context: inside it, each layer's `call` is recorded, while a function is traced as well.

    Args:
        model: A Keras model that the caller owns.
        paths: Layers, `outer/inner` inside a nested model.
        whose: "model" or "teacher", for messages.

    Raises:
        InputError: There is no such layer.
    """

    def __init__(self, model: keras.Model, paths: Sequence[str], whose: str = "model") -> None:
        by_path = {ref.path: ref.layer for ref in layer_refs(model)}
        for path in paths:
            if path not in by_path:
                raise InputError(
                    f"distill_layers: the {whose} has no layer '{path}'", near_names(path, by_path)
                )
        self._layers = [by_path[path] for path in paths]
        self._before: list[Any] = []
        self.outputs: list[Any] = [None] * len(paths)

    def __enter__(self) -> Recorder:
        for i, layer in enumerate(self._layers):
            self._before.append(layer.__dict__.get("call"))
            layer.__dict__["call"] = self._recorded(i, layer.call)
        return self

    def __exit__(self, *reason: object) -> None:
        for layer, before in reversed(list(zip(self._layers, self._before, strict=True))):
            if before is None:
                del layer.__dict__["call"]
            else:
                layer.__dict__["call"] = before
        self._before.clear()

    def _recorded(self, place: int, call: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def recorded(*args: Any, **kwargs: Any) -> Tensor:
            self.outputs[place] = call(*args, **kwargs)
            return self.outputs[place]

        return recorded


def recorders(
    model: keras.Model, teacher: keras.Model | None, pairs: Sequence[str]
) -> tuple[Recorder, Recorder] | tuple[None, None]:
    """Recorders of a model's and its teacher's layers; none where no layers are named.

    Args:
        model: Learns.
        teacher: Is learned from, or None.
        pairs: `NAME`, or `NAME=TEACHERS_NAME`.

    Raises:
        InputError: A layer doesn't exist, or there is no teacher.
    """
    if not pairs:
        return None, None
    if teacher is None:
        raise InputError("distill_layers needs a teacher", "give --teacher, or leave it out")
    own = [pair.partition("=")[0] for pair in pairs]
    others = [pair.partition("=")[2] or name for pair, name in zip(pairs, own, strict=True)]
    return Recorder(model, own), Recorder(teacher, others, "teacher")


def feature_loss(own: Sequence[tf.Tensor], others: Sequence[tf.Tensor]) -> tf.Tensor:
    """How far features are from a teacher's, summed over layers.

    Features of the same shape are compared element by element; images of another width by where
    they are strong (attention transfer); all else by which samples of the batch they hold to be
    alike (similarity-preserving distillation). None needs weights of its own.

    Args:
        own: (batch, …) tensors.
        others: The teacher's, likewise; no gradient flows into them.

    Returns:
        A scalar tensor; 0 where they are the same.

    Source: Romero et al., "FitNets" (ICLR 2015); Zagoruyko and Komodakis, "Paying more attention to
        attention" (ICLR 2017); Tung and Mori, "Similarity-preserving knowledge distillation" (ICCV
        2019).
    """
    import tensorflow as tf

    total = tf.constant(0.0)
    for student, teacher in zip(own, others, strict=True):
        a, b = tf.cast(student, tf.float32), tf.stop_gradient(tf.cast(teacher, tf.float32))
        if a.shape[1:] == b.shape[1:]:
            total += _element_distance(a, b)
        elif a.shape.rank == b.shape.rank == 4 and a.shape[1:3] == b.shape[1:3]:
            total += _attention_distance(a, b)
        else:
            total += _similarity_distance(a, b)
    return total


def _element_distance(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Squared error as a share of the teacher's mean square."""
    import tensorflow as tf

    size = tf.reduce_mean(tf.square(b)) + _SMALLEST
    return tf.reduce_mean(tf.math.squared_difference(a, b)) / size


def _attention_distance(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Squared distance of the normalised maps of squares, mean over samples."""
    import tensorflow as tf

    maps = [tf.reshape(tf.reduce_mean(tf.square(x), -1), (tf.shape(x)[0], -1)) for x in (a, b)]
    first, second = (tf.math.l2_normalize(m, 1, _SMALLEST) for m in maps)
    return tf.reduce_mean(tf.reduce_sum(tf.math.squared_difference(first, second), 1))


def _similarity_distance(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Squared distance of the row-normalised products of the batch's samples, mean over pairs."""
    import tensorflow as tf

    rows = [tf.reshape(x, (tf.shape(x)[0], -1)) for x in (a, b)]
    products = [tf.matmul(r, r, transpose_b=True) for r in rows]
    first, second = (tf.math.l2_normalize(p, 1, _SMALLEST) for p in products)
    return tf.reduce_mean(tf.math.squared_difference(first, second))
