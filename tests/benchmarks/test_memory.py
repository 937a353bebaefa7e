"""The planned arena."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepress.benchmarks.memory import ArenaPlan, plan_arena
from edgepress.benchmarks.tflite_file import read_graph
from edgepress.compress.errors import InputError

FILES = (
    "mlperf_tiny/ic/resnet8_float.tflite",
    "mlperf_tiny/ic/resnet8_int8.tflite",
    "mlperf_tiny/kws/kws_int8.tflite",
    "mlperf_tiny/vww/vww_96_float.tflite",
    "mlperf_tiny/ad/ad01_int8.tflite",
    "models/tflite/mnist_lstm_int8.tflite",
    "models/tflite/basic_pitch_nmp.tflite",
)


def _clashes(plan: ArenaPlan) -> list[tuple[str, str]]:
    found = []
    for i, a in enumerate(plan.buffers):
        for b in plan.buffers[i + 1 :]:
            together = a.first <= b.last and b.first <= a.last
            overlap = a.offset < b.offset + b.size and b.offset < a.offset + a.size
            if together and overlap:
                found.append((a.name, b.name))
    return found


@pytest.mark.parametrize("name", FILES)
def test_what_lives_together_never_overlaps(shared_data: Path, name: str) -> None:
    plan = plan_arena(shared_data / name)
    assert plan.buffers
    assert _clashes(plan) == []
    assert plan.live_bytes <= plan.arena_bytes <= plan.unshared_bytes
    assert all(b.offset % 16 == 0 for b in plan.buffers)


def test_int8_needs_a_quarter(resnet_float: Path, resnet_int8: Path) -> None:
    assert plan_arena(resnet_float).arena_bytes == 4 * plan_arena(resnet_int8).arena_bytes


def test_the_graph_is_read_as_the_runtime_reads_it(resnet_int8: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    graph = read_graph(resnet_int8)
    interpreter = Interpreter(str(resnet_int8))
    told = [op["op_name"] for op in interpreter._get_ops_details()]
    assert [op.name for op in graph.operators] == [n for n in told if n != "DELEGATE"]
    for tensor, detail in zip(graph.tensors, interpreter.get_tensor_details(), strict=False):
        assert tensor.name == detail["name"]
        assert tensor.shape == tuple(detail["shape"])
    assert graph.operator_names == tuple(sorted({op.name for op in graph.operators}))


def test_another_file_is_refused() -> None:
    with pytest.raises(InputError, match="not a TensorFlow Lite model"):
        plan_arena(Path(__file__))
