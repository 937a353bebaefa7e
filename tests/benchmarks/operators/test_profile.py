"""Time by operator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from real_files import also_real

from edgepress.benchmarks.operators.onnx_filters import read_filters
from edgepress.benchmarks.operators.onnx_work import KernelWork, kernel_macs, kernel_work
from edgepress.benchmarks.operators.profile import machine_peak, profile_artifact
from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.benchmarks.tflite.graph import read_graph
from edgepress.benchmarks.tflite.macs import operator_macs
from edgepress.benchmarks.tflite.split_operators import cut_operators

RESNETS = ["resnet8_float", *also_real("mlperf_tiny/ic/resnet8_float")]
EdgeFile = Callable[[str], Path]


@pytest.mark.parametrize("name", RESNETS)
def test_operators_one_after_the_other_compute_the_whole(
    edge_file: EdgeFile, name: str, tmp_path: Path
) -> None:
    resnet_float = edge_file(name)
    graph = read_graph(resnet_float)
    files = cut_operators(resnet_float, tmp_path)
    assert list(files) == list(range(len(graph.operators)))
    x = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.float32)
    known = {graph.inputs[0]: x}
    for position, operator in enumerate(graph.operators):
        given = {graph.tensors[i].name: known[i] for i in operator.inputs if i in known}
        with Runtime(files[position]) as runtime:
            results = list(runtime.predict(given).values())
        known.update(zip(operator.outputs, results, strict=True))
    with Runtime(resnet_float) as runtime:
        (expected,) = runtime.predict({"x": x}).values()
    np.testing.assert_allclose(known[graph.outputs[0]], expected, atol=1e-5)


@pytest.mark.parametrize("name", RESNETS)
def test_the_macs_of_resnet8(edge_file: EdgeFile, name: str) -> None:
    graph = read_graph(edge_file(name))
    macs = sum(operator_macs(graph, operator) or 0 for operator in graph.operators)
    assert macs == 12_501_632


def test_a_profile_accounts_for_every_operator(resnet_int8: Path) -> None:
    profile = profile_artifact(resnet_int8, runs=10)
    assert len(profile.operators) == len(read_graph(resnet_int8).operators)
    assert sum(o.share for o in profile.operators) == pytest.approx(1)
    assert {o.bound for o in profile.operators if o.operator == "CONV_2D"} <= {"compute", "memory"}
    assert all(o.gflops is None for o in profile.operators if o.operator == "SOFTMAX")
    assert "isolated-operator estimate" in profile.notes[0]
    for operator in (o for o in profile.operators if o.operator == "CONV_2D"):
        assert operator.gflops == pytest.approx(2 * (operator.macs or 0) / operator.ms / 1e6)
        assert operator.of_peak == pytest.approx(operator.gflops / profile.peak["gflops"])


@pytest.mark.parametrize(
    "name", ["streaming_float", *also_real("models/tflite/wakeword_okay_nabu_streaming")]
)
def test_what_cannot_be_cut_is_said(edge_file: EdgeFile, name: str) -> None:
    profile = profile_artifact(edge_file(name), runs=5)
    assert any("can't run alone" in note for note in profile.notes)


def _layers_onnx(path: Path) -> Path:
    """Convolutions (one in groups), one transposed, and a dense layer as `.onnx`."""
    rng = np.random.default_rng(0)
    shapes = {"plain": (8, 4, 3, 3), "groups": (8, 1, 3, 3), "back": (8, 2, 2, 2), "dense": (32, 5)}
    weights = [
        onnx.numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n)
        for n, s in shapes.items()
    ]
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["x", "plain"], ["a"], "plain", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Conv", ["a", "groups"], ["b"], "groups", group=8, pads=[1, 1, 1, 1]),
        node("ConvTranspose", ["b", "back"], ["c"], "back", strides=[2, 2]),
        node("GlobalAveragePool", ["c"], ["d"], "pool"),
        node("Conv", ["d", "wide"], ["e"], "wide"),
        node("Flatten", ["e"], ["f"], "flat"),
        node("MatMul", ["f", "dense"], ["y"], "dense"),
    ]
    wide = rng.normal(size=(32, 2, 1, 1)).astype(np.float32)
    weights.append(onnx.numpy_helper.from_array(wide, "wide"))
    value = onnx.helper.make_tensor_value_info
    float32 = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes, "layers", [value("x", float32, [1, 4, 16, 16])], [value("y", float32, [1, 5])],
        weights,
    )  # fmt: skip
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    return path


def test_onnx_has_work_and_a_bound_in_its_profile(tmp_path: Path) -> None:
    profile = profile_artifact(_layers_onnx(tmp_path / "layers.onnx"), runs=10)
    expected = {8 * 8 * 8 * 4 * 9, 8 * 8 * 8 * 9, 32 * 2, 32 * 5}  # "back" packs its weights
    worked = [o for o in profile.operators if o.macs is not None]
    assert {o.macs for o in worked} == expected
    assert all(o.gflops and o.of_peak and o.bound in ("compute", "memory") for o in worked)
    assert all(o.bound is None for o in profile.operators if "Pool" in o.operator)


@pytest.mark.parametrize(
    ("kind", "given", "made", "macs"),
    [
        ("QLinearConv", [[1, 3, 8, 8], [], [], [4, 3, 3, 3], [4], [4], [], []], [1, 4, 8, 8], 6912),
        ("FusedConv", [[1, 2, 4, 4], [3, 2, 1, 1], [3], [1, 3, 4, 4]], [1, 3, 4, 4], 96),
        ("MatMul", [[2, 7, 16], [16, 3]], [2, 7, 3], 672),
        ("Gemm", [[16, 7], [3, 16], [3]], [7, 3], 336),  # the first factor is stored transposed
        ("QLinearConv", [[1, 3, 8, 8], [], [], [4]], [1, 4, 8, 8], None),  # weights are packed
        ("ConvTranspose", [[1, 8, 4, 4], [8, 2, 2, 2]], [1, 2, 8, 8], 1024),
        ("LSTM", [[5, 2, 3], [1, 16, 3], [1, 16, 4], [1, 32]], [5, 1, 2, 4], 5 * 2 * 16 * (3 + 4)),
        ("GRU", [[5, 2, 3], [2, 12, 3], [2, 12, 4]], [5, 2, 2, 4], 5 * 2 * 2 * 12 * (3 + 4)),
        ("LSTM", [[5, 2, 4], [1, 2, 4], [1, 2, 4]], [5, 1, 2, 4], None),  # both are packed
        ("MatMul", [[16], [16, 3]], [3], 48),
        ("Relu", [[1, 3]], [1, 3], None),
        ("Conv", [], [1, 3], None),
    ],
)
def test_the_macs_of_kernels_of_onnx_runtime(
    kind: str, given: list[list[int]], made: list[int], macs: int | None
) -> None:
    assert kernel_macs(kind, given, [made]) == macs


def test_weights_that_a_kernel_packed_count_as_read() -> None:
    told = {
        "op_name": "Gemm", "activation_size": "256", "parameter_size": "40", "output_size": "40",
        "input_type_shape": [{"float": [1, 64]}, {"float": [10]}],
        "output_type_shape": [{"float": [1, 10]}],
    }  # fmt: skip
    assert kernel_work(told) == KernelWork(640, 256 + 40 + 40 + 4 * 640)


@pytest.mark.parametrize("width", [8, 16])
def test_padded_blocks_of_channels_are_not_counted(width: int) -> None:
    told = {
        "op_name": "Conv",
        "input_type_shape": [{"float": [2, 3, 9, 9]}, {"float": [width, 3, 3, 3]}],
        "output_type_shape": [{"float": [2, width, 9, 9]}],
    }
    assert kernel_work(told, (6, 3, 3, 3)).macs == 2 * 81 * 6 * 3 * 9
    assert kernel_work(told, ()).macs is None
    assert kernel_work(told).macs == 2 * 81 * width * 3 * 9


def test_filters_are_found_by_the_name_of_the_kernel(tmp_path: Path) -> None:
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    filters = [
        onnx.numpy_helper.from_array(np.ones((6, n, 3, 3), "float32"), name)
        for name, n in (("first", 3), ("second", 6))
    ]
    nodes = [
        node("Conv", ["x", "first"], ["a"]), node("Relu", ["a"], ["b"]),
        node("Identity", ["second"], ["same"]), node("Conv", ["b", "same"], ["c"]),
        node("Add", ["c", "b"], ["y"]),
    ]  # fmt: skip
    sides = [value(name, onnx.TensorProto.FLOAT, None) for name in "xy"]
    graph = onnx.helper.make_graph(nodes, "named", sides[:1], sides[1:], filters)
    onnx.save(onnx.helper.make_model(graph), tmp_path / "named.onnx")
    found = read_filters(tmp_path / "named.onnx")
    assert found.of("a_nchwc") == found.of("b_nchwc") == (6, 3, 3, 3)
    assert found.of("c_nchwc") == found.of("y_nchwc_token_3") == (6, 6, 3, 3)
    assert found.of("x_nchwc") == ()
    assert found.of("plain") is None


def test_onnx_has_its_own_profile(onnx_file: Path) -> None:
    profile = profile_artifact(onnx_file, runs=10)
    assert profile.operators
    assert profile.to_json()["operators"][0]["share"] > 0


def test_the_peak_is_measured() -> None:
    found = machine_peak(1)
    assert found["gflops"] > 0.1
    assert found["gbytes_per_s"] > 0.1
