"""Keras 1's convolutions of more than one kernel or output size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras1_files import keras1_layer, write_keras1
from old_keras import outputs_of

from edgepress.compress.models import load

tf_keras = pytest.importorskip("tf_keras")
import tensorflow as tf  # noqa: E402

RANDOM = np.random.default_rng(0)
SETTINGS = {"init": "glorot_uniform", "activation": "linear", "bias": True}
SIZES = {"nb_filter": 4, "nb_row": 3, "nb_col": 2}


def _loaded(folder: Path, layer: dict[str, Any], arrays: list[np.ndarray]) -> Any:
    return load(write_keras1(folder / "k1.h5", "Sequential", [layer], [("layer_1", arrays)]))


@pytest.mark.parametrize("ordering", ["tf", "th"])
@pytest.mark.parametrize(
    ("mode", "strides", "size"),
    [
        *(("valid", [2, 3], size) for size in ((11, 17), (12, 19))),
        *(("same", [2, 3], size) for size in ((10, 18), (9, 16))),
        ("valid", [1, 1], (7, 7)),
        ("same", [1, 1], (5, 6)),
    ],
)
def test_a_deconvolution_gives_the_size_it_was_told(
    tmp_path: Path, mode: str, strides: list[int], size: tuple[int, int], ordering: str
) -> None:
    first = ordering == "th"
    kernel, bias = RANDOM.normal(size=(3, 2, 3, 4)), RANDOM.normal(size=4)
    layer = keras1_layer(
        "Deconvolution2D",
        output_shape=[None, *((4, *size) if first else (*size, 4))],
        subsample=strides,
        border_mode=mode,
        dim_ordering=ordering,
        batch_input_shape=[None, *((3, 5, 6) if first else (5, 6, 3))],
        **SIZES,
        **SETTINGS,
    )
    model = _loaded(tmp_path, layer, [kernel.transpose(3, 2, 0, 1) if first else kernel, bias])
    x = RANDOM.normal(size=(2, 5, 6, 3)).astype("float32")
    turned = kernel.transpose(0, 1, 3, 2).astype("float32")
    wanted = tf.nn.conv2d_transpose(x, turned, (2, *size, 4), strides, mode.upper()) + bias
    found = np.asarray(model(x.transpose(0, 3, 1, 2) if first else x))
    found = found.transpose(0, 2, 3, 1) if first else found
    np.testing.assert_allclose(found, np.asarray(wanted), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ordering", ["tf", "th"])
def test_a_separable_convolution(tmp_path: Path, ordering: str) -> None:
    first = ordering == "th"
    shape = (3, 6, 7) if first else (6, 7, 3)
    order = "channels_first" if first else "channels_last"
    reference = tf_keras.Sequential(
        [
            tf_keras.Input(shape),
            tf_keras.layers.SeparableConv2D(4, (3, 2), depth_multiplier=2, data_format=order),
        ]
    )
    arrays = [RANDOM.normal(size=w.shape) for w in reference.get_weights()]
    reference.set_weights(arrays)
    layer = keras1_layer(
        "SeparableConvolution2D",
        depth_multiplier=2,
        subsample=[1, 1],
        border_mode="valid",
        dim_ordering=ordering,
        batch_input_shape=[None, *shape],
        **SIZES,
        **SETTINGS,
    )
    stored = [a.transpose(3, 2, 0, 1) if first and a.ndim == 4 else a for a in arrays]
    x = RANDOM.normal(size=(2, *shape)).astype("float32")
    found = np.asarray(_loaded(tmp_path, layer, stored)(x))
    np.testing.assert_allclose(found, np.asarray(outputs_of(reference, x)[0]), rtol=1e-4, atol=1e-5)
