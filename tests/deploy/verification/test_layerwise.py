"""Layer by layer: a right file departs nowhere, a wrong one at the layer that is wrong."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from keras import layers

from edgepress.deploy.exporting.export import export
from edgepress.deploy.verification.layerwise import compare_layers, draw_layers


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(5)
    image = keras.Input((10, 10, 3), name="image")
    x = layers.Conv2D(8, 3, use_bias=False, name="first")(image)
    x = layers.ReLU(name="first_relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.DepthwiseConv2D(3, activation="relu", name="second")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(4, activation="softmax", name="class")(x))


def samples(model, scale=1.0):
    x = scale * np.random.default_rng(0).normal(size=(240, 10, 10, 3)).astype("float32")
    return x, np.asarray(model(x))


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_a_float_file_departs_nowhere(model, suffix, tmp_path, worker):
    [artifact] = export(model, tmp_path / "out", (suffix[1:],), worker=worker)
    shouted = artifact.path.rename(artifact.path.with_suffix(suffix.upper()))
    report = compare_layers(model, shouted)
    assert report.first is None
    assert min(row.sqnr_db for row in report.layers) > 100
    compared = {row.layer for row in report.layers}
    assert {"first_relu", "second", "pool", "class"} <= compared
    assert compared.isdisjoint(report.fused)
    assert compared | set(report.fused) == {layer.name for layer in model.layers[1:]}


@pytest.mark.slow
def test_a_file_without_names_is_compared_as_the_named_one(model, tmp_path, worker):
    asked = (("tflite",), ("int8",), {"train": samples(model), "test": samples(model)})
    [named] = export(model, tmp_path / "named", *asked, worker=worker)
    [nameless] = export(model, tmp_path / "nameless", *asked, strip_names=True, worker=worker)
    assert nameless.bytes < named.bytes
    assert nameless.verified.passed
    assert nameless.verified.to_json() == named.verified.to_json()
    reports = [compare_layers(model, artifact.path) for artifact in (named, nameless)]
    by_name, by_values = (
        [(row.layer, row.sqnr_db, row.max_abs_error, row.cause) for row in report.layers]
        for report in reports
    )
    assert by_name == by_values
    assert reports[0].fused == reports[1].fused


def test_a_range_that_was_too_narrow_is_found(model, tmp_path, worker):
    narrow, wide = samples(model, 0.05), samples(model)
    data = {"train": narrow, "test": narrow}
    [artifact] = export(model, tmp_path / "out", ("tflite",), ("int8",), data, worker=worker)
    report = compare_layers(model, artifact.path, {"train": wide, "test": wide})
    assert report.first.layer == "first_relu"
    assert "saturated" in report.first.cause
    assert json.loads(json.dumps(report.to_json()))["first"] == "first_relu"
    draw_layers(report, tmp_path / "layers.png")
    assert (tmp_path / "layers.png").read_bytes().startswith(b"\x89PNG")


def test_a_layer_whose_weights_differ_is_the_first(model, tmp_path, worker):
    [artifact] = export(model, tmp_path / "out", ("tflite",), worker=worker)
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    layer = other.get_layer("second")
    layer.set_weights([layer.get_weights()[0] * -1.5, layer.get_weights()[1] + 0.5])
    report = compare_layers(other, artifact.path)
    assert report.first.layer == "second"
    assert next(r for r in report.layers if r.layer == "first_relu").sqnr_db > 100


def test_one_channel_that_dwarfs_the_rest_is_named(tmp_path, worker):
    keras.utils.set_random_seed(0)
    values = keras.Input((6,), name="values")
    dense = layers.Dense(8, name="dense")
    last = layers.Dense(2, name="last")
    model = keras.Model(values, last(dense(values)))
    kernel, bias = dense.get_weights()
    kernel[:, 3] *= 300
    dense.set_weights([kernel, bias])
    # What is left of the file's outputs is right: the others count for nothing.
    kernel, bias = last.get_weights()
    kernel[[0, 1, 2, 4, 5, 6, 7]] *= 0.1
    last.set_weights([kernel, bias])
    x = np.random.default_rng(0).normal(size=(240, 6)).astype("float32")
    data = {"train": (x, np.asarray(model(x))), "test": (x, np.asarray(model(x)))}
    [artifact] = export(model, tmp_path / "out", ("tflite",), ("int8",), data, worker=worker)
    row = compare_layers(model, artifact.path, data).layers[0]
    assert row.layer == "dense"
    assert "channel 3" in row.cause
