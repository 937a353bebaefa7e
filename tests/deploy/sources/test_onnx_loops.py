"""MACs inside of loops of ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgepress import deploy


def _loop(path: Path, rounds: int | None, ends: bool = False) -> Path:
    """A square matrix of 6, multiplied with in a loop; its rounds are an input where None."""
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    kinds = onnx.TensorProto
    body = onnx.helper.make_graph(
        [
            node("MatMul", ["state", "matrix"], ["next"]),
            node("Less", ["i", "limit"], ["on"]) if ends else node("Identity", ["go"], ["on"]),
        ],
        "body",
        [value("i", kinds.INT64, []), value("go", kinds.BOOL, []), value("state", 1, [1, 6])],
        [value("on", kinds.BOOL, []), value("next", 1, [1, 6])],
        [onnx.numpy_helper.from_array(np.array(2, np.int64), "limit")],
    )
    stored = [
        onnx.numpy_helper.from_array(np.eye(6, dtype=np.float32), "matrix"),
        onnx.numpy_helper.from_array(np.array(True), "begin"),
    ]
    inputs = [value("x", kinds.FLOAT, [1, 6])]
    if rounds is None:
        inputs.append(value("rounds", kinds.INT64, [1]))
    else:
        stored.append(onnx.numpy_helper.from_array(np.array(rounds, np.int64), "rounds"))
    graph = onnx.helper.make_graph(
        [node("Loop", ["rounds", "begin", "x"], ["y"], body=body)],
        "loop", inputs, [value("y", kinds.FLOAT, [1, 6])], stored,
    )  # fmt: skip
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    return path


def test_rounds_that_the_file_tells_are_counted(tmp_path: Path) -> None:
    found = deploy.inspect(_loop(tmp_path / "a.onnx", 5))
    assert found.macs == 5 * 36
    assert not any("not counted" in note for note in found.notes)


@pytest.mark.parametrize(("rounds", "ends"), [(None, False), (5, True)])
def test_rounds_that_data_decides_are_named(tmp_path: Path, rounds: int | None, ends: bool) -> None:
    found = deploy.inspect(_loop(tmp_path / "a.onnx", rounds, ends))
    assert found.macs == 0
    assert any("MACs inside Loop are not counted" in note for note in found.notes)
