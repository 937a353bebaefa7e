"""The converters' child process: limits, crashes, and what is said of them."""

from __future__ import annotations

from unittest import mock

import keras
import numpy as np
import pytest
from keras import layers

from edgepress.compress.errors import DeviceError
from edgepress.deploy.exporters.tracing import trace_model
from edgepress.deploy.exporting.export import convert, export
from edgepress.deploy.process.converter_errors import explain
from edgepress.deploy.process.worker import TASKS, Refused, Worker, task_function


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_function(task):
    assert callable(task_function(task))


def test_a_refusal_is_one_line_and_keeps_no_log(worker, tmp_path):
    kept = worker.kept_log
    with pytest.raises(Refused) as caught:
        worker.ask("tflite", {"source": str(tmp_path / "none"), "out": "x", "precision": "float32"})
    assert caught.value.exit_code == 3
    assert worker.kept_log == kept
    assert "log:" not in caught.value.format_message()
    assert "\n" not in caught.value.format_message()


def test_a_conversion_that_takes_too_long_is_stopped(tmp_path):
    with Worker(timeout=0.3) as hasty, pytest.raises(DeviceError, match=r"longer than 0\.3 s"):
        hasty.ask("tflite", {"source": str(tmp_path), "out": "x", "precision": "float32"})


def test_a_conversion_that_failed_is_not_tried_again_for_each_precision(tmp_path):
    precisions = ("float32", "float16", "dynamic")
    with Worker(timeout=0.3) as hasty, mock.patch.object(hasty, "ask", wraps=hasty.ask) as ask:
        result = export(_convolutional(), tmp_path / "out", ("onnx",), precisions, worker=hasty)
    assert [call.args[0] for call in ask.call_args_list].count("onnx") == 1
    assert [skipped.quantize for skipped in result.skipped] == list(precisions)
    assert len({skipped.reason for skipped in result.skipped}) == 1
    assert "longer than 0.3 s" in result.skipped[0].reason


def test_a_conversion_that_needs_too_much_memory_fails_alone(tmp_path):
    values = keras.Input((8,))
    traced = trace_model(keras.Model(values, layers.Dense(2)(values)), tmp_path / "m")
    request = {"source": str(traced.folder), "out": str(tmp_path / "x"), "precision": "float32"}
    with Worker(timeout=120, memory_bytes=60_000_000) as small, pytest.raises(DeviceError):
        small.ask("tflite", request)


def test_what_a_converter_said_is_kept_where_it_died(tmp_path):
    request = {"source": str(tmp_path), "out": "x", "precision": "float32"}
    with Worker(timeout=0.3) as hasty, pytest.raises(DeviceError) as caught:
        hasty.ask("tflite", request)
    assert hasty.kept_log is not None
    assert str(hasty.kept_log) in caught.value.hint
    hasty.kept_log.unlink()


def _convolutional() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(13, 3, padding="same", name="c1"),
            layers.BatchNormalization(name="bn1"),
            layers.ReLU(),
            layers.Conv2D(14, 3, activation="relu", name="c2"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax", name="out"),
        ]
    )


def _attentive() -> keras.Model:
    series = keras.Input((16, 8), name="series")
    x = layers.Dense(16)(series)
    for number in range(2):
        normal = layers.LayerNormalization(name=f"norm{number}")(x)
        x = layers.Add()([x, layers.MultiHeadAttention(2, 8, name=f"mha{number}")(normal, normal)])
    return keras.Model(series, layers.Dense(4, name="out")(layers.GlobalAveragePooling1D()(x)))


NETWORKS = {"convolutional": _convolutional, "attentive": _attentive}


@pytest.fixture(scope="module")
def written(tmp_path_factory, worker):
    """ONNX files of the networks, by name: one from each of two children, in another order.

    Names may be numbered on from file to file, and the order of sets of objects changes from
    process to process.
    """
    folder, models = tmp_path_factory.mktemp("written"), {k: f() for k, f in NETWORKS.items()}
    random = np.random.default_rng(0)  # equal weights, such as zeros, would be merged
    for model in models.values():
        model.set_weights([random.uniform(0.5, 1, w.shape) for w in model.get_weights()])
    files = {name: [folder / f"{name}_{number}.onnx" for number in range(2)] for name in models}
    with Worker() as other:
        for number, (child, order) in enumerate(((worker, [*models]), (other, [*models][::-1]))):
            for name in order:
                assert convert(models[name], files[name][number], "onnx", "float32", child) == ""
    return files


@pytest.mark.parametrize("name", NETWORKS)
def test_every_child_writes_the_same_bytes(written, name):
    assert len({file.read_bytes() for file in written[name]}) == 1


def test_onnx_files_hold_no_shapes_of_tensors_that_are_gone(written):
    """tf2onnx keeps those of all that its optimizer dropped: two thirds of such a file."""
    import onnx

    graph = onnx.load(written["attentive"][0]).graph
    live = {name for node in graph.node for name in (*node.input, *node.output)}
    assert {value.name for value in graph.value_info} <= live
    assert not any("PartitionedCall" in name for name in live)


def test_a_reason_that_speaks_of_tflite_is_given_for_tflite_alone() -> None:
    text = "tf.TensorListReserve op requires element_shape to be static"
    assert "TFLite" in explain(text, "tflite")
    assert explain(text, "onnx") == ""
