"""A precision for each layer: what is asked for by name is what the file holds."""

from __future__ import annotations

import json
from collections import Counter

import keras
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from keras import layers
from variants import mostly_slow

from edgepress.benchmarks.tflite.graph import read_graph
from edgepress.compress.errors import InputError
from edgepress.deploy.cli.main import cli
from edgepress.deploy.exporters.layer_marks import unmarked_names
from edgepress.deploy.exporting.export import export
from edgepress.deploy.exporting.next_steps import after_failure
from edgepress.deploy.specs.export import ExportSpec

QUICK = {"equalize": False, "bias_correction": False, "calibration_samples": 16}


@pytest.fixture(scope="module")
def model():
    """Layers whose names TensorFlow's numbering mixes up."""
    keras.utils.set_random_seed(4)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="conv")(image)
    x = first = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv_1")(x)
    x = layers.Add(name="add")([layers.DepthwiseConv2D(3, padding="same", name="depth")(x), first])
    x = layers.Dense(16, activation="relu", name="hidden")(layers.Flatten(name="flat")(x))
    return keras.Model(image, layers.Dense(4, activation="softmax", name="head")(x))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.random((32, 8, 8, 3), dtype="float32"), rng.integers(0, 4, 32)


@pytest.fixture
def made(model, data, tmp_path, worker):
    def make(*formats, quantize="int8", **options):
        asked = {**QUICK, **options}
        if quantize != "int8":
            asked = {"calibration_samples": 16, **options}
        return export(model, tmp_path / "out", formats, quantize, data=data, worker=worker, **asked)

    return make


def kernels(path):
    """The types of a file's kernels."""
    return Counter(
        t.type for t in read_graph(path).tensors if t.constant and len(t.shape) > 1 and t.bytes > 60
    )


def test_layers_stay_in_floats_by_name(made):
    [file] = made("tflite", keep_float=["conv", "head"])
    assert file.layers == {"conv": "float32", "head": "float32"}
    assert file.verified.passed
    assert kernels(file.path) == {"FLOAT32": 2, "INT8": 3}
    assert not any("edgepress_layer" in t.name for t in read_graph(file.path).tensors)


def test_weights_have_four_bits_and_sixteen(made):
    result = made("tflite", precision={"*": "int4", "depth": "float16", "head": "int8"})
    [file] = result
    assert file.layers["conv"] == file.layers["hidden"] == "int4"
    assert (file.layers["depth"], file.layers["head"]) == ("float16", "int8")
    assert file.layers["norm"] == "none of its own"
    assert kernels(file.path) == {"INT4": 3, "FLOAT16": 1, "INT8": 1}
    assert any("layers by name: int4: conv" in note for note in result.notes)


@pytest.mark.parametrize("base", mostly_slow(["int8", "int16x8"], "int16x8"))
def test_activations_have_eight_bits_and_sixteen(made, base):
    wanted = {"conv_1": "int16x8", "depth": "int8", "hidden": "int4"}
    [file] = made("tflite", quantize=base, precision=wanted, keep_float=["head"])
    assert file.layers["conv_1"] == "int16x8"
    assert (file.layers["depth"], file.layers["hidden"]) == ("int8", "int4")
    assert file.layers["head"] == "float32"
    assert {t.dtype for t in (*file.inputs, *file.outputs)} == {"float32"}
    types = {t.type for t in read_graph(file.path).tensors}
    assert {"INT4", "INT8", "INT16", "INT64", "FLOAT32"} <= types


def test_onnx_layers_have_floats_of_both_sizes(made):
    [file] = made("onnx", keep_float=["norm"], precision={"hidden": "float16"})
    assert file.layers == {"norm": "float32", "hidden": "float16, float32"}
    graph = onnx.load(file.path).graph
    kinds = Counter(t.data_type for t in graph.initializer if len(t.dims) > 1)
    wanted = onnx.TensorProto
    assert kinds == {wanted.FLOAT: 1, wanted.FLOAT16: 1, wanted.INT8: 3}
    assert not any("edgepress_layer" in name for n in graph.node for name in (n.name, *n.output))


def test_a_bounded_fall_puts_more_layers_in_floats_and_says_so(model, data, tmp_path, worker):
    own = keras.models.clone_model(model)
    rng = np.random.default_rng(1)
    own.set_weights(
        [w + 0.4 * rng.normal(size=w.shape).astype("float32") ** 2 for w in own.get_weights()]
    )
    labels = own.predict(data[0], verbose=0).argmax(1)
    result = export(
        own,
        tmp_path / "out",
        ["tflite"],
        "int8",
        data=(data[0], labels),
        worker=worker,
        precision={"conv*": "int4"},
        keep_float=["depth"],
        int8_max_drop=0.0,
        **QUICK,
    )
    [file] = result
    assert file.layers["depth"] == "float32"
    assert sum(n.startswith("model_int8.tflite: layers by name") for n in result.notes) == 1
    types = kernels(file.path)
    assert types["INT4"] == sum(kind == "int4" for kind in file.layers.values())
    assert types["FLOAT32"] >= 1


@pytest.mark.slow
def test_training_for_int8_leaves_layers_out_of_any_kind(data, tmp_path, worker):
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")(image)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv_1")(x)
    own = keras.Model(image, layers.Dense(4, name="head")(layers.GlobalAveragePooling2D()(x)))
    asked = {"quantize": "int8", "data": data, "qat_epochs": 1, "worker": worker}
    with pytest.raises(InputError, match="norm") as caught:
        export(own, tmp_path / "a", ["tflite"], **asked)
    assert "--keep-float norm" in caught.value.format_message()
    [file] = export(
        own,
        tmp_path / "b",
        ["tflite"],
        keep_float=["norm"],
        precision={"conv_1": "float16"},
        **asked,
    )
    assert file.layers == {"norm": "float32", "conv_1": "float16"}
    assert kernels(file.path) == {"FLOAT16": 1, "INT8": 1}  # the head is smaller than those


def test_what_a_road_cant_do_is_refused_by_name(made):
    result = made("tflite", "onnx", "c", precision={"conv*": "int4"})
    assert [a.format for a in result] == ["tflite"]
    reasons = {s.format: s.reason for s in result.skipped}
    assert "conv*=int4" in reasons["onnx"]
    assert "conv*=int4" in reasons["c"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keep_float": ["convv_1"]}, "--keep-float convv_1: no layer's name matches"),
        ({"keep_float": ["convv_1"]}, "conv_1"),
        ({"precision": {"heat": "int4"}}, "head"),
        ({"precision": {"head": "int5"}}, "int4"),
        ({"quantize": "float32", "keep_float": ["head"]}, "--keep-float has no effect"),
        ({"precision": {"head": "int4"}, "qat_epochs": 1}, "--qat-epochs"),
        ({"precision": {"head": "int16x8"}, "int8_max_drop": 0.1}, "--int8-max-drop"),
    ],
)
def test_impossible_rules_write_nothing(model, data, tmp_path, options, words):
    with pytest.raises(InputError) as caught:
        export(model, tmp_path / "out", ["tflite"], **{"quantize": "int8", "data": data, **options})
    assert words in caught.value.format_message()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("pattern", "words"), [("*", "nothing of the file"), ("norm", "of its own")]
)
def test_rules_that_leave_no_integers_or_match_no_operator_have_no_file(made, pattern, words):
    result = made("tflite", "onnx", keep_float=[pattern])
    reasons = [s.reason for s in result.skipped]
    assert words in reasons[0]
    # The normalisation's name is that of the convolution in ONNX.
    assert bool(result.artifacts) == (pattern == "norm")


def test_the_command_and_recipes_take_both(model, data, tmp_path):
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=data[0], y=data[1])
    typed = ["export", str(tmp_path / "model.keras"), "--data", str(tmp_path / "data.npz")]
    typed += ["-o", str(tmp_path / "out"), "--format", "tflite", "--quantize", "int8", "--json"]
    typed += ["--keep-float", "head", "--keep-float", "conv_*", "--precision", "depth=int4"]
    done = CliRunner().invoke(cli, [*typed, "--calibration-samples", "16"])
    assert done.exit_code == 0, done.output
    [file] = json.loads(done.stdout)["artifacts"]
    assert file["layers"] == {"conv_1": "float32", "depth": "int4", "head": "float32"}
    spec = ExportSpec.model_validate(
        {"quantize": "int8", "keep_float": "a,b", "precision": {"c": "int4"}}
    )
    assert (spec.keep_float, spec.precision) == (("a", "b"), {"c": "int4"})


def test_the_next_step_is_one_that_wasnt_taken():
    assert "--int8-max-drop" in after_failure("tflite", "int8")
    assert "--precision" in after_failure("tflite", "int8", ["precision"], ran=False)
    assert "--int8-max-drop" not in after_failure("tflite", "int8", ["int8_max_drop"])
    assert after_failure("tflite", "int8", ["int8_max_drop", "qat_epochs"]) == "export int16x8"


def test_names_without_marks_stay_apart():
    names = ["edgepress_layer.1./a/Conv", "edgepress_layer.1._1/a/Conv", "a/Conv_1", "b"]
    assert unmarked_names(names) == dict(
        zip(names, ["a/Conv", "a/Conv_2", "a/Conv_1", "b"], strict=True)
    )
