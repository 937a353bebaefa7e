"""What won't convert is known, and the layer named, before a converter is asked."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from variants import mostly_slow

from edgepress.compress.errors import DeviceError, InputError
from edgepress.deploy.exporters import EXPORTERS, Job
from edgepress.deploy.exporters.preflight import preflight
from edgepress.deploy.exporting.export import export
from edgepress.deploy.sources.sample_inputs import plausible_inputs
from edgepress.deploy.specs.export import ExportSpec


def job(model, tmp_path, worker, **settings):
    return Job(model, ExportSpec(**settings), worker, tmp_path, tmp_path / "probe.npz", None)


@pytest.fixture(scope="module")
def tangent():
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Lambda(tf.tan, name="tangent")(image)
    return keras.Model(image, layers.Conv2D(2, 3)(x))


def test_the_operation_and_its_layer_are_named(tangent, tmp_path, worker):
    found = preflight(job(tangent, tmp_path, worker), ("tflite", "onnx", "c"))
    assert {o.format for o in found} >= {"tflite", "c"}
    for obstacle in found:
        assert obstacle.layer == "tangent"
        assert "Tan" in obstacle.reason


_REFUSED = ("arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "cosh", "erfinv", "i0",
            "sinh", "tan")  # fmt: skip


@pytest.mark.parametrize("name", mostly_slow(_REFUSED, "arctan", "cosh"))
def test_what_the_converter_refuses_is_foretold(name, tmp_path, worker):
    """`doctor` looks there too, and no converter has to be started."""
    values = keras.Input((6,), name="values")
    model = keras.Model(values, layers.Dense(2)(getattr(keras.ops, name)(values)))
    [obstacle] = preflight(job(model, tmp_path, worker), ("tflite",))
    assert "TFLite has no operator for" in obstacle.reason


def test_select_ops_take_a_format_s_obstacle_away(tangent, tmp_path, worker):
    found = preflight(job(tangent, tmp_path, worker, select_ops=True), ("tflite", "c"))
    assert [o.format for o in found] == ["c"]


def test_a_file_of_tensorflow_s_own_kernels_is_said_to_be_unverified(tmp_path, worker):
    """No runtime here runs them; the user who asked for them has one."""
    image = keras.Input((4, 4, 4, 2), name="image")
    model = keras.Model(image, keras.ops.erf(layers.Lambda(tf.sinh)(image)))
    data = (np.zeros((8, 4, 4, 4, 2), np.float32), np.zeros((8, 4, 4, 4, 2), np.float32))
    options = {"select_ops": True, "worker": worker}
    result = export(
        model, tmp_path / "out", ("tflite", "onnx"), ("float32", "int8"), data, **options
    )
    tflite, onnx = result
    assert tflite.verified is None
    assert (tflite.inputs[0].name, tflite.inputs[0].shape) == ("image", (None, 4, 4, 4, 2))
    assert onnx.verified.passed
    assert any("not verified: Erf, Sinh run" in note for note in result.notes)
    assert "kernel Sinh doesn't run here" in result.skipped[0].reason


def test_layers_without_16_bits_need_a_package_and_stay_in_floats(tmp_path, worker, monkeypatch):
    inputs = keras.Input((5, 4), name="x")
    model = keras.Model(inputs, layers.Dense(3)(layers.Masking(name="mask")(inputs)))
    work = job(model, tmp_path, worker)
    assert preflight(work, ("tflite",)) == ()
    work.calibration = tmp_path / "calibration.npz"
    np.savez(work.calibration, **plausible_inputs(model, 16))
    written = EXPORTERS["tflite"].write(work, "int16x8", tmp_path / "x.tflite")
    assert any("in floats" in note for note in written.notes)
    assert (tmp_path / "x.tflite").stat().st_size > 0
    monkeypatch.setattr("edgepress.deploy.exporters.preflight.find_spec", lambda name: None)
    [obstacle] = preflight(work, ("tflite",))
    assert obstacle.concerns("tflite", "int16x8")
    assert not obstacle.concerns("tflite", "int8")
    assert "'mask'" in obstacle.reason


def test_a_network_without_obstacles_has_none(tmp_path, worker):
    image = keras.Input((8, 8, 4), name="image")
    x = layers.Conv2D(8, 3, groups=2, activation="gelu")(image)
    x = layers.LSTM(4)(layers.Reshape((6, 48))(x))
    assert preflight(job(keras.Model(image, x), tmp_path, worker), ("tflite", "onnx", "c")) == ()


@pytest.mark.parametrize(
    ("mode", "there"),
    [
        pytest.param("int8", ["tflite", "onnx"], marks=pytest.mark.slow),
        ("int4", ["tflite", "onnx"]),
        ("float8", []),
    ],
)
def test_what_kerass_own_quantisation_left_is_named(mode, there, tmp_path, worker):
    values = keras.Input((12,), name="values")
    model = keras.Model(values, layers.Dense(4, name="scores")(values))
    model.quantize(mode)
    result = export(model, tmp_path / "out", ("tflite", "onnx", "c"), worker=worker)
    assert [a.format for a in result if a.format != "c"] == there
    refused = [skipped for skipped in result.skipped if skipped.format != "c"]
    assert len(refused) == 2 - len(there)
    for skipped in refused:
        assert f"layer 'scores' computes in {mode}" in skipped.reason
        work = job(model, tmp_path / skipped.format, worker)
        work.scratch.mkdir()
        np.savez(work.probe, **plausible_inputs(model, 2))
        with pytest.raises(DeviceError):
            EXPORTERS[skipped.format].write(work, "float32", tmp_path / "x")


def test_an_obstacle_becomes_the_reason_of_a_skip(tangent, tmp_path, worker):
    result = export(tangent, tmp_path / "out", ("tflite",), worker=worker)
    assert not result
    assert "tangent" in result.skipped[0].reason
    assert not (tmp_path / "out").exists()


def test_a_table_of_numbers_stays_before_the_files(tmp_path, worker):
    number = keras.Input((3,), dtype="int32", name="number")
    index = layers.IntegerLookup(vocabulary=[1, 5, 9], name="lookup")(number)
    model = keras.Model(number, layers.Flatten()(layers.Embedding(5, 2)(index)))
    result = export(model, tmp_path / "out", worker=worker)
    assert [a.format for a in result] == ["tflite", "onnx"]
    assert result.artifacts[0].inputs[0].dtype == "int32"
    assert "layer 'lookup' (IntegerLookup) can't be in a file" in result.notes[0]
    listed = (tmp_path / "out" / "vocabulary_lookup.txt").read_text().split()
    assert listed == ["-1", "1", "5", "9"]


def words():
    text = keras.Input((1,), dtype="string", name="words")
    return keras.Model(text, layers.StringLookup(vocabulary=["a"], name="lookup")(text))


def joined():
    number = keras.Input((3,), name="number")
    return keras.Model(number, keras.ops.mean(layers.Dense(2)(number)))


def remembering():
    series = keras.Input(batch_shape=(1, 4, 2), name="series")
    return keras.Model(series, layers.LSTM(3, stateful=True, name="memory")(series))


def dilated(kind, rank):
    def build():
        inputs = keras.Input((6,) * rank + (2,), name="inputs")
        return keras.Model(inputs, kind(3, 2, dilation_rate=2, name="spread")(inputs))

    return build


def emptied():
    image = keras.Input((8, 8, 2), name="image")
    return keras.Model(image, layers.Conv2D(2, 1)(image)[:, 8:])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (words, "layer 'lookup' .* gives an output of the model"),
        (joined, "one number for a whole batch"),
        (remembering, "layer 'memory' keeps its state"),
        (dilated(layers.Conv1DTranspose, 1), "'spread' .Conv1DTranspose. is dilated"),
        (dilated(layers.Conv2DTranspose, 2), "'spread' .Conv2DTranspose. is dilated"),
        (dilated(layers.Conv3DTranspose, 3), "'spread' .Conv3DTranspose. is dilated"),
        (emptied, "holds no values: its shape is .0, 8, 2."),
    ],
)
def test_what_takes_and_gives_no_samples_is_refused(make, says, tmp_path, worker):
    with pytest.raises(InputError, match=says):
        export(make(), tmp_path / "out", worker=worker)


def test_an_input_can_be_an_output_and_a_number_be_alone(tmp_path, worker):
    number = keras.Input((3,), name="number")
    alone = layers.Reshape((), name="alone")(layers.Dense(1)(number))
    result = export(keras.Model(number, [number, alone]), tmp_path / "out", worker=worker)
    assert [a.format for a in result] == ["tflite", "onnx"]
