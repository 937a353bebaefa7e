"""A fault in one operator is found at that operator, in few runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import numpy_helper
from variants import mostly_slow

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.benchmarks.tflite.graph import packed, read_graph
from edgepress.compress.errors import InputError
from edgepress.deploy.verification.bisecting import FLOAT_NOISE, INTEGER_NOISE, bisect, layer_in

EdgeFile = Callable[[str], Path]
FILES = ["branches_float", "resnet8_float", "resnet8_int8", "ds_cnn_int8", "autoencoder_int8"]


def with_weights(path: Path) -> list[int]:
    """Operators with constants of more than a few numbers."""
    graph = read_graph(path)
    return [
        position
        for position, operator in enumerate(graph.operators)
        if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
        and graph.tensors[operator.inputs[1]].constant
    ]


def harmed(path: Path, position: int, out: Path) -> Path:
    """A copy in which one operator has other weights, of the same size."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = model.subgraphs[0]
    kernel = graph.tensors[int(graph.operators[position].inputs[1])]
    content = np.asarray(model.buffers[kernel.buffer].data, np.uint8)
    kind = np.float32 if kernel.type == schema.TensorType.FLOAT32 else np.int8
    values = content.view(kind).copy()
    buffer = schema.BufferT()
    buffer.data = values[::-1].copy().view(np.uint8)
    kernel.buffer = len(model.buffers)
    model.buffers.append(buffer)
    out.write_bytes(packed(model))
    return out


def samples(path: Path, count: int = 3) -> dict[str, Any]:
    with Runtime(path) as runtime:
        specs = runtime.describe()["inputs"]
    rng = np.random.default_rng(0)
    scale = {"uint8": 255, "int8": 255}
    return {
        s["name"]: rng.random((count, *(n or 1 for n in s["shape"][1:])), np.float32)
        * (scale.get(s["dtype"], 1) * (s["scale"] or 1))
        for s in specs
    }


@pytest.mark.parametrize("share", [(0,), pytest.param(range(1, 99), marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", mostly_slow(FILES, "branches_float"))
def test_a_fault_is_found_at_its_operator(
    edge_file: EdgeFile, name: str, share: Any, tmp_path: Path
) -> None:
    path = edge_file(name)
    given, least = samples(path), INTEGER_NOISE if "int8" in name else FLOAT_NOISE
    faults = with_weights(path)
    middle = len(faults) // 2
    for number in share:
        if number >= len(faults):
            break
        fault = faults[(middle + number) % len(faults)]
        other = harmed(path, fault, tmp_path / "harmed.tflite")
        found = bisect(Runtime, Runtime, path, given, least, suspect_file=other)
        assert found is not None
        assert found.position == fault
        assert found.noise > least
        assert found.runs <= math.ceil(math.log2(found.operators)) + 1


def test_where_nothing_departs_nothing_is_found(edge_file: EdgeFile) -> None:
    path = edge_file("ds_cnn_int8")
    builtin: Any = lambda file: Runtime(file, xnnpack=False)  # noqa: E731
    assert bisect(builtin, builtin, path, samples(path), INTEGER_NOISE) is None


def test_an_onnx_file_and_what_is_kept(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(6, 6)).astype(np.float32) for _ in range(5)]
    nodes, last = [], "x"
    for number in range(5):
        nodes += [helper.make_node("MatMul", [last, f"w{number}"], [f"m{number}"]),
                  helper.make_node("Tanh", [f"m{number}"], [f"y{number}"])]  # fmt: skip
        last = f"y{number}"

    def write(path: Path, harm: int | None) -> Path:
        kept = [w if n != harm else w[::-1].copy() for n, w in enumerate(weights)]
        graph = helper.make_graph(
            nodes, "chain",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 6])],
            [helper.make_tensor_value_info(last, TensorProto.FLOAT, [None, 6])],
            [numpy_helper.from_array(w, f"w{n}") for n, w in enumerate(kept)],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, path)
        return path

    right, wrong = write(tmp_path / "a.onnx", None), write(tmp_path / "b.onnx", 3)
    x = {"x": rng.normal(size=(4, 6)).astype(np.float32)}
    found = bisect(
        Runtime, Runtime, right, x, FLOAT_NOISE, suspect_file=wrong, keep=tmp_path / "kept"
    )
    assert found is not None
    assert (found.operator, found.tensor, found.position) == ("MatMul", "m3", 6)
    with np.load(tmp_path / "kept" / "inputs.npz") as inputs:
        read = inputs["y2"]
    for side, kernel in (("reference", weights[3]), ("suspect", weights[3][::-1])):
        with np.load(tmp_path / "kept" / f"{side}.npz") as outputs:
            np.testing.assert_allclose(outputs["m3"], read @ kernel, atol=1e-5)
    with Runtime(tmp_path / "kept" / "until.onnx") as runtime:
        (got,) = runtime.predict(x).values()
    np.testing.assert_allclose(got, read @ weights[3], atol=1e-5)


def test_a_layer_is_found_in_the_names_around_it() -> None:
    layers = ["conv", "conv_1", "head"]
    assert layer_in(["functional/conv_1/Relu;functional/conv_1/BiasAdd"], layers) == "conv_1"
    assert layer_in(["StatefulPartitionedCall:0", "functional/head/MatMul"], layers) == "head"
    assert layer_in(["StatefulPartitionedCall:0"], layers) == ""


def test_what_can_not_be_cut(edge_file: EdgeFile, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be cut"):
        bisect(Runtime, Runtime, tmp_path / "a.txt", {}, 1)
    with pytest.raises(InputError, match="keeps state"):
        bisect(Runtime, Runtime, edge_file("streaming_float"), {}, 1)
    other = edge_file("ds_cnn_int8")
    with pytest.raises(InputError, match="same operators"):
        bisect(Runtime, Runtime, edge_file("resnet8_int8"), {}, 1, suspect_file=other)
