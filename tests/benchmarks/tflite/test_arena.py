"""The planned arena."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from real_files import also_real

from edgepress.benchmarks.tflite.arena import ArenaPlan, plan_arena
from edgepress.benchmarks.tflite.graph import read_graph
from edgepress.compress.errors import InputError

FILES = (
    *("resnet8_float", "resnet8_int8", "ds_cnn_int8", "mobilenet_float", "autoencoder_int8"),
    *("lstm_int8", "branches_float", "streaming_float"),
    *also_real(
        "mlperf_tiny/ic/resnet8_float",
        "mlperf_tiny/ic/resnet8_int8",
        "mlperf_tiny/kws/kws_int8",
        "mlperf_tiny/vww/vww_96_float",
        "mlperf_tiny/ad/ad01_int8",
        "models/tflite/mnist_lstm_int8",
        "models/tflite/basic_pitch_nmp",
    ),
)
EdgeFile = Callable[[str], Path]


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
def test_what_lives_together_never_overlaps(edge_file: EdgeFile, name: str) -> None:
    plan = plan_arena(edge_file(name))
    assert plan.buffers
    assert _clashes(plan) == []
    assert plan.live_bytes <= plan.arena_bytes <= plan.unshared_bytes
    assert all(b.offset % 16 == 0 for b in plan.buffers)


@pytest.mark.parametrize("name", ["resnet8", *also_real("mlperf_tiny/ic/resnet8")])
def test_int8_needs_a_quarter(edge_file: EdgeFile, name: str) -> None:
    floats, integers = (plan_arena(edge_file(f"{name}_{kind}")) for kind in ("float", "int8"))
    assert floats.arena_bytes == 4 * integers.arena_bytes


@pytest.mark.parametrize("name", FILES)
def test_the_graph_is_read_as_the_runtime_reads_it(edge_file: EdgeFile, name: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    graph = read_graph(edge_file(name))
    interpreter = Interpreter(str(edge_file(name)))
    told = [op["op_name"] for op in interpreter._get_ops_details()]
    assert [op.name for op in graph.operators] == [n for n in told if n != "DELEGATE"]
    for tensor, detail in zip(graph.tensors, interpreter.get_tensor_details(), strict=False):
        assert tensor.name == detail["name"]
        assert tensor.shape == tuple(detail["shape"])
    assert graph.operator_names == tuple(sorted({op.name for op in graph.operators}))


def test_another_file_is_refused() -> None:
    with pytest.raises(InputError, match="not a TensorFlow Lite model"):
        plan_arena(Path(__file__))
