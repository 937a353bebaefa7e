"""TensorFlow functions in the graphs of tf.keras models compute what they computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepress.compress.errors import InputError
from edgepress.compress.models import load

tf_keras = pytest.importorskip("tf_keras")
import tensorflow as tf  # noqa: E402

K = tf_keras.backend
ONES = np.ones
MATRICES: dict[str, Callable[[Any], Any]] = {
    "inverse_hyperbolic": lambda x: tf.asinh(x) + tf.acosh(tf.abs(x) + 1.1) + tf.atanh(x / 4),
    "tensordot": lambda x: tf.tensordot(x, ONES((4, 2), "float32"), axes=[[2], [0]]),
    "matvec": lambda x: tf.linalg.matvec(x, ONES(4, "float32")),
    "transpose": lambda x: tf.linalg.matmul(x, tf.linalg.matrix_transpose(x)),
    "band": lambda x: tf.linalg.band_part(tf.matmul(x, x, transpose_b=True), -1, 1),
    "convolution": lambda x: tf.nn.conv1d(x, ONES((2, 4, 3), "float32"), 2, "SAME"),
    "flatten": K.batch_flatten,
    "dot": lambda x: K.dot(x, K.constant(ONES((4, 2)))),
    "ones": lambda x: K.ones_like(x) + K.zeros_like(x) * x,
    "strides": lambda x: tf.strided_slice(x, [0, 0, 1], [9, 5, 4], [1, 2, 1]),
    "sort": lambda x: tf.sort(x, axis=1) - tf.sort(x, axis=1, direction="DESCENDING"),
    "argsort": lambda x: tf.argsort(x, axis=-1, direction="DESCENDING"),
    "cumsum": lambda x: tf.cumsum(x, 1, exclusive=True) + tf.cumsum(x, 1, reverse=True),
    "cumprod": lambda x: tf.math.cumprod(x, 2, exclusive=True, reverse=True),
    "broadcast": lambda x: tf.broadcast_to(tf.reduce_mean(x, 1, keepdims=True), tf.shape(x)),
    "size": lambda x: x / tf.sqrt(tf.cast(tf.shape(x)[-1], tf.float32)),
    "batch_and_rest": lambda x: tf.reshape(x, (tf.shape(x)[0], -1)),
    "batch_and_product": lambda x: tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1] * tf.shape(x)[2]]),
    "angle": lambda x: tf.math.atan2(x, tf.ones_like(x)) + tf.math.atan2(x, 0.5),
    "errors": lambda x: tf.math.erfc(x) + tf.math.erfinv(x / 4) + tf.math.rint(x),
    "counts": lambda x: tf.math.count_nonzero(tf.nn.relu(x), [1], keepdims=True),
    "clipped": lambda x: tf.clip_by_norm(x, 0.7, axes=[2]),
    "diagonals": lambda x: tf.linalg.diag(x) + tf.linalg.diag(tf.linalg.diag_part(x))[:, None],
    "square": lambda x: tf.linalg.det(x @ tf.linalg.adjoint(x) + 2 * np.eye(5, dtype="float32")),
    "trace": lambda x: tf.linalg.trace(x) + tf.nn.l2_loss(x),
    "cross": lambda x: tf.linalg.cross(x[..., :3], x[..., 1:]),
}
IMAGES: dict[str, Callable[[Any], Any]] = {
    "patches": lambda x: tf.image.extract_patches(
        x, [1, 4, 4, 1], [1, 2, 4, 1], [1, 1, 1, 1], "VALID"
    ),
    "old_bilinear": lambda x: tf.compat.v1.image.resize_bilinear(x, (13, 5)),
    "old_bilinear_corners": lambda x: tf.compat.v1.image.resize_bilinear(
        x, (16, 5), align_corners=True
    ),
    "old_nearest": lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, (13, 5)),
    "old_nearest_corners": lambda x: tf.compat.v1.image.resize_nearest_neighbor(
        x, (13, 5), align_corners=True
    ),
    "transposed": tf.image.transpose,
    "turned": lambda x: tf.image.rot90(x, 3),
    "bias_first": lambda x: tf.nn.bias_add(x, ONES(8, "float32"), data_format="NCHW"),
    "colours": lambda x: tf.image.hsv_to_rgb(tf.image.rgb_to_hsv(tf.nn.sigmoid(x))),
    "gray": tf.image.rgb_to_grayscale,
    "standard": tf.image.per_image_standardization,
    "centre": lambda x: tf.image.central_crop(x, 0.4),
    "crop_or_pad": lambda x: tf.image.resize_with_crop_or_pad(x, 5, 11),
    "box": lambda x: tf.image.crop_to_bounding_box(x, 1, 2, 4, 5),
    "contrast": lambda x: tf.image.adjust_brightness(tf.image.adjust_contrast(x, 2.0), 0.1),
    "convolution": lambda x: tf.nn.conv2d(x, ONES((3, 3, 3, 2), "float32"), 1, "SAME"),
    "depthwise": lambda x: tf.nn.depthwise_conv2d(
        x, ONES((3, 3, 3, 1), "float32"), [1, 2, 2, 1], "SAME"
    ),
}


@pytest.mark.parametrize(
    ("shape", "function"),
    [
        *(pytest.param((5, 4), f, id=name) for name, f in MATRICES.items()),
        *(pytest.param((8, 7, 3), f, id=f"image_{name}") for name, f in IMAGES.items()),
    ],
)
def test_equal_outputs(tmp_path: Path, shape: tuple[int, ...], function: Any) -> None:
    tf_keras.backend.clear_session()
    inputs = tf_keras.Input(shape)
    model = tf_keras.Model(inputs, function(inputs))
    model.save(tmp_path / "old.h5")
    carried = load(tmp_path / "old.h5")
    for seed in range(2):
        x = np.random.default_rng(seed).uniform(-1, 2, (3, *shape)).astype("float32")
        wanted, found = np.asarray(model(x)), np.asarray(carried(x))
        assert wanted.shape == found.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda x: tf.einsum("bij,bkj->bik", x, x), "without its tensors"),
        (lambda x: tf.reshape(x, (tf.shape(x)[0] * 5, -1)), "two open sizes"),
        (lambda x: tf.cast(tf.where(x > 0), tf.float32), "condition alone"),
        (lambda x: tf.signal.stft(x, 2, 1), "no known counterpart"),
        (lambda x: x * tf.cast(tf.shape(x)[0], tf.float32), "an open size"),
    ],
)
def test_what_has_no_counterpart_is_refused(tmp_path: Path, function: Any, says: str) -> None:
    inputs = tf_keras.Input((5, 4))
    tf_keras.Model(inputs, function(inputs)).save(tmp_path / "old.h5")
    with pytest.raises(InputError, match=says):
        load(tmp_path / "old.h5")
