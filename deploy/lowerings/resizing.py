"""Images resized by what formats have no operator for: bicubic, area, Lanczos, antialiasing.

Each is linear and separable, so it is two products with constant matrices, one for the rows and
one for the columns. TensorFlow itself says what is in them: it resizes unit images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf
    from numpy.typing import NDArray

_OPERATORS = frozenset({"bilinear", "nearest"})


def resize(
    own: Callable[..., Any],
    images: tf.Tensor,
    size: Sequence[int],
    method: str = "bilinear",
    antialias: bool = False,
    **options: Any,
) -> tf.Tensor:
    """`tf.image.resize` as two convolutions of one pixel, where sizes are known.

    Args:
        own: TensorFlow's function.
        images: Of (samples, height, width, channels).
        size: Height and width that are asked for.
        method: Name of the interpolation.
        antialias: Whether shrinking averages.
        **options: Others of TensorFlow's; with any of them its own function resizes.

    Returns:
        32-bit floats of (samples, *size, channels).
    """
    import tensorflow as tf

    given = tf.convert_to_tensor(images)
    wanted = tf.get_static_value(tf.convert_to_tensor(size))
    known = len(given.shape) == 4 and None not in given.shape[1:] and wanted is not None
    spoken = method in _OPERATORS and (not antialias or method == "nearest")
    if spoken or not known or options or not isinstance(method, str):
        return own(images, size, method=method, antialias=antialias, **options)
    height, width = (int(side) for side in wanted)
    with tf.init_scope():
        rows, columns = (
            _kernel(own, old, new, method, antialias)
            for old, new in zip(given.shape[1:3], (height, width), strict=True)
        )
    x = tf.transpose(tf.cast(given, tf.float32), [0, 2, 3, 1])
    x = tf.transpose(tf.nn.conv2d(x, rows, 1, "VALID"), [0, 3, 2, 1])
    return tf.transpose(tf.nn.conv2d(x, columns, 1, "VALID"), [0, 1, 3, 2])


def _kernel(
    own: Callable[..., Any], old: int, new: int, method: str, antialias: bool
) -> NDArray[Any]:
    """What each old pixel of a line adds to each new one: (1, 1, old, new)."""
    import numpy as np

    lines = np.eye(old, dtype=np.float32)[:, :, None, None]
    made = own(lines, [new, 1], method=method, antialias=antialias)
    return np.asarray(made)[:, :, 0, 0][None, None]
