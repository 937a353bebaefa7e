"""Options that can't be, or would be ignored, are refused before any work."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from keras import layers
from pydantic import ValidationError

from edgepress.compress.errors import InputError
from edgepress.deploy.cli.main import cli
from edgepress.deploy.exporters import EXPORTERS
from edgepress.deploy.exporting.export import convert, export
from edgepress.deploy.process.converter_errors import explain
from edgepress.deploy.quantize import PRECISIONS
from edgepress.deploy.recipe import ExportSpec, read_recipe


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
        ({"io": "int8"}, "has no effect"),
        ({"formats": ["tflite"], "nchw": True}, "--nchw has no effect"),
        ({"formats": ["tflite"], "opset": 15}, "--opset has no effect"),
        ({"opset": 19}, "13 to 18"),
        ({"calibration_method": "magic"}, "percentile"),
        ({"graph_batch": 0}, "--batch 0"),
        ({"calibration_samples": 20}, "--calibration-samples has no effect"),
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

    taken = inspect.signature(export).parameters
    for name, field in ExportSpec.model_fields.items():
        assert name in taken
        default = taken[name].default
        if name not in ("formats", "quantize", "precision", "shapes"):
            assert field.get_default() == default


def test_a_specification_is_taken_as_it_is_and_changed_by_name(model, tmp_path, worker):
    spec = ExportSpec(formats=("onnx",), quantize=("float32", "float16"), opset=15)
    result = export(model, tmp_path / "a", spec=spec, worker=worker)
    assert {a.quantize for a in result} == {"float32", "float16"}
    assert {a.versions["onnx opset"] for a in result} == {"15"}
    (changed,) = export(
        model, tmp_path / "b", quantize="float32", spec=spec, opset=16, worker=worker
    )
    assert changed.versions["onnx opset"] == "16"
    with pytest.raises(InputError, match="unknown option 'opsett'; did you mean 'opset'"):
        export(model, tmp_path / "c", opsett=15)


RULES = [
    {"formats": ["tflite"], "nchw": True},
    {"formats": ["tflite"], "opset": 15},
    {"formats": ["c"], "strip_names": True},
    {"quantize": ["float32"], "calibration_samples": 20},
    {"quantize": ["float32"], "qat_epochs": 2},
    {"quantize": ["float32"], "keep_float": ["head"]},
    {"quantize": ["float32"], "precision": {"head": "int4"}},
    {"quantize": ["float32"], "int8_max_drop": 0.1},
    {"quantize": ["int8"], "int8_max_drop": 0.1, "io": "int8"},
    {"quantize": ["int8"], "sparse_encoding": "on"},
    {"quantize": ["float32"], "equalize": True},
    {"quantize": ["float32"], "bias_correction": False},
    {"quantize": ["float32"], "calibration_method": "mse"},
]


@pytest.mark.parametrize("options", RULES, ids=lambda o: " ".join(o))
def test_a_rule_holds_by_the_same_words_for_every_way_of_asking(model, tmp_path, options):
    with pytest.raises(InputError) as by_name:
        export(model, tmp_path / "out", **options)
    words = by_name.value.format_message()
    assert words.startswith("--")
    with pytest.raises(ValidationError) as caught:
        ExportSpec(**options)
    assert words in str(caught.value)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"model": "m", "data": "d", "export": options}, sort_keys=False))
    with pytest.raises(InputError) as in_a_recipe:
        read_recipe(path)
    assert in_a_recipe.value.format_message() == f"{path}:3: export: {words}"
    typed = []
    for name, value in options.items():
        flag = "--" + ExportSpec.flags.get(name, name).replace("_", "-")
        no = "--no-" + name.replace("_", "-")
        text = ",".join(value) if isinstance(value, list) else str(value)
        if isinstance(value, dict):
            text = ",".join(f"{pattern}={kind}" for pattern, kind in value.items())
        typed += [no if value is False else flag] if isinstance(value, bool) else [flag, text]
    done = CliRunner().invoke(
        cli, ["export", "m.keras", "-o", str(tmp_path / "out"), *typed], catch_exceptions=False
    )
    assert done.exit_code == 2
    assert words in done.output


@pytest.mark.parametrize("options", RULES, ids=lambda o: " ".join(o))
def test_what_is_refused_is_taken_where_it_has_an_effect(options):
    """No rule is broader than its reason."""
    ExportSpec(**{**options, "formats": ["tflite", "onnx"], "quantize": ["float32", "int8"],
                  "io": "float"})  # fmt: skip


def test_samples_that_pruning_takes_need_no_export_that_is_calibrated(tmp_path):
    words = ["compress", str(tmp_path / "m.keras"), "--data", "d.npz", "-o", str(tmp_path / "run")]
    words += ["--quantize", "float32", "--calibration-samples", "64"]
    pruning = ["--structure", "channels", "--target-macs", "0.5"]
    for more, says in ((pruning, "m.keras' does not exist"), ([], "has no effect")):
        done = CliRunner().invoke(cli, [*words, *more])
        assert done.exit_code == 2
        assert says in done.output
