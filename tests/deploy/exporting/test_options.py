"""Options that can't be, or would be ignored, are refused before any work."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgepress.compress.errors import InputError
from edgepress.deploy.exporters import EXPORTERS
from edgepress.deploy.exporting.export import convert, export
from edgepress.deploy.process.converter_errors import explain
from edgepress.deploy.quantize import PRECISIONS


@pytest.fixture(scope="module")
def model():
    image = keras.Input((4, 4, 3), name="image")
    return keras.Model(image, layers.Dense(2)(layers.Flatten()(layers.Conv2D(4, 3)(image))))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quantize": ["int8"]}, "pass --data"),
        ({"formats": ["tflight"]}, "tflite"),
        ({"quantize": ["int9"]}, "int8"),
        ({"formats": []}, "nothing to export"),
        ({"io": "int8"}, "has no use"),
        ({"formats": ["tflite"], "nchw": True}, "--nchw has no use"),
        ({"formats": ["tflite"], "opset": 15}, "--opset has no use"),
        ({"opset": 19}, "13 to 18"),
        ({"calibration_method": "magic"}, "percentile"),
        ({"graph_batch": 0}, "--batch 0"),
        ({"calibration_samples": 20}, "--calibration-samples has no use"),
    ],
)
def test_impossible_options_write_nothing(model, tmp_path, options, words):
    with pytest.raises(InputError) as caught:
        export(model, tmp_path / "out", **options)
    assert words in caught.value.format_message()
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_stays(model, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="exists already"):
        export(model, tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("format", EXPORTERS)
def test_each_combination_exists_or_says_why_not(format, precision):
    exporter = EXPORTERS[format]
    refusal = exporter.refusal(format, precision, "float")
    assert (precision in exporter.precisions) == (refusal == "")
    assert exporter.precisions <= set(PRECISIONS)
    assert exporter.integer_io <= exporter.precisions


def test_an_onnx_file_channels_first_and_of_an_older_opset(model, tmp_path, worker):
    import onnx

    x = np.random.default_rng(0).normal(size=(240, 4, 4, 3)).astype("float32")
    y = np.asarray(model(x))
    result = export(model, tmp_path / "out", ["onnx"], ["float32", "int8"],
                    {"train": (x, y), "val": (x, y)}, nchw=True, opset=15, worker=worker,
                    calibration_method="percentile")  # fmt: skip
    assert result.passed
    assert len(result) == 2
    for artifact in result:
        assert artifact.inputs[0].shape == (None, 3, 4, 4)
        written = onnx.load(artifact.path)
        onnx.checker.check_model(written, full_check=True)  # shape inference too
        assert artifact.versions["onnx opset"] == str(written.opset_import[0].version)
        assert artifact.versions["onnx IR"] == str(written.ir_version)
        assert written.opset_import[0].version >= 15


@pytest.mark.parametrize("batch", ["dynamic", 3])
def test_the_batch_is_as_asked(model, tmp_path, worker, batch):
    result = export(model, tmp_path / "out", graph_batch=batch, worker=worker)
    assert result.passed
    size = None if batch == "dynamic" else batch
    assert [a.inputs[0].shape[0] for a in result] == [size, size]


def test_one_file_without_ceremony(model, tmp_path):
    assert convert(model, tmp_path / "m.tflite") == ""
    assert (tmp_path / "m.tflite").stat().st_size > 500


def test_what_converters_say_is_put_in_words():
    said = "error: Quantization to 16x8-bit not yet supported for op: 'NEG'. Something."
    assert explain(said) == "TFLite has no 16-bit version of the operator NEG"
    assert explain("all is well") == ""


def test_the_functions_keep_their_names_whatever_was_imported(model, tmp_path, worker):
    """A module of a function's name would take its place in the package once imported."""
    from edgepress import deploy

    deploy.export(model, tmp_path / "out", ["onnx"], worker=worker)
    assert callable(deploy.export)
    assert callable(deploy.verify)
    assert deploy.verify(model, tmp_path / "out" / "model_float32.onnx").passed


def test_the_command_takes_every_option_of_the_function():
    import inspect

    from edgepress.deploy.recipe import ExportSpec

    taken = inspect.signature(export).parameters
    for name, field in ExportSpec.model_fields.items():
        assert name in taken
        default = taken[name].default
        if name not in ("formats", "quantize", "shapes"):
            assert field.get_default() == default
