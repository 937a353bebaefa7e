"""Errors of values in real files: a network whose int8 error grows by half is refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgepress.deploy.exporting.export import export


def exported(folder, worker, error, narrowed):
    """A keypoint network in int8.

    Args:
        folder: Where to.
        worker: Converts.
        error: Of the network itself, as a share of the spread of its targets.
        narrowed: What the training samples, by which int8 is calibrated, are multiplied with.
    """
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Flatten()(layers.Conv2D(8, 3, 2, activation="relu")(image))
    points = layers.Dense(4, name="points")(layers.Dense(24, activation="relu")(x))
    model = keras.Model(image, points)
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 8, 8, 1)).astype("float32")
    y = model.predict(x, verbose=0)
    y += error * y.std() * random.normal(size=y.shape).astype("float32")
    data = {"train": (x[:100] * narrowed, y[:100]), "test": (x[100:], y[100:])}
    return export(model, folder / "out", ["tflite"], ["int8"], data, worker=worker)


def growth(agreement):
    return agreement.value / agreement.source_value - 1


@pytest.mark.parametrize(("error", "narrowed"), [(0.05, 0.7), (0.05, 0.6)])
def test_a_file_whose_error_grows_by_more_than_half_is_refused(error, narrowed, tmp_path, worker):
    [failed] = exported(tmp_path, worker, error, narrowed).failed
    assert growth(failed.verified) > 0.5
    assert failed.verified.outputs[0].error < 0.35  # which noise alone would let pass
    assert "output 'points': its mean absolute error grows by" in failed.reason


def test_a_tiny_error_may_grow_by_a_quarter(tmp_path, worker):
    [artifact] = exported(tmp_path, worker, 0.022, 1.0).artifacts
    assert 0.15 < growth(artifact.verified) < 0.4
