"""Memory plans: less memory, no overlaps, the same outputs, and TFLM obeys them to the byte."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st
from real_files import also_real
from variants import mostly_slow

from edgepress.benchmarks.tflite.arena import Need, most_alive, needs, plan_arena, plan_graph
from edgepress.benchmarks.tflite.graph import Operator, Tensor, TFLiteGraph, read_graph
from edgepress.benchmarks.tflite.planning.memory_plan import plan_memory, search_plan
from edgepress.benchmarks.tflite.planning.offsets import search_offsets
from edgepress.benchmarks.tflite.planning.order import search_order
from edgepress.compress.errors import InputError

EdgeFile = Callable[[str], Path]
# Depthwise networks, whose widest layers TFLM lays with gaps, and a graph with branches.
GAPS = ["mobilenet_int8", "branches_float", *also_real("mlperf_tiny/vww/vww_96_int8")]
TIGHT = ["resnet8_int8", *also_real("mlperf_tiny/ic/resnet8_int8", "mlperf_tiny/kws/kws_int8")]


@st.composite
def graphs(draw: st.DrawFn) -> TFLiteGraph:
    """Graphs in which every operator reads one or two of the tensors before it."""
    count = draw(st.integers(1, 14))
    sizes = draw(st.lists(st.integers(1, 4000), min_size=count + 1, max_size=count + 1))
    operators = []
    for step in range(count):
        read = draw(st.lists(st.integers(0, step), min_size=1, max_size=2, unique=True))
        # Sums in 32 bits need as much again four times while they run.
        name = draw(st.sampled_from(["ADD", "CONCATENATION", "TRANSPOSE_CONV"]))
        operators.append(Operator(name, tuple(read), (step + 1,)))
    tensors = tuple(
        Tensor(i, f"t{i}", (size,), (), "INT8", size, False, False, 0)
        for i, size in enumerate(sizes)
    )
    unread = {*range(1, count + 1)} - {t for op in operators for t in op.inputs}
    return TFLiteGraph(tensors, tuple(operators), (0,), tuple(sorted(unread)), 1)


@given(graphs())
@settings(max_examples=150)
def test_an_order_puts_no_operator_before_what_it_reads(graph: TFLiteGraph) -> None:
    order = search_order(graph)
    assert sorted(order) == list(range(len(graph.operators)))
    known = {*graph.inputs}
    for step in order:
        assert set(graph.operators[step].inputs) <= known
        known |= set(graph.operators[step].outputs)


@given(graphs())
@settings(max_examples=150)
def test_a_plan_needs_no_more_and_nothing_that_lives_together_overlaps(graph: TFLiteGraph) -> None:
    plan = search_plan(graph)
    ordered = replace(graph, operators=tuple(graph.operators[i] for i in plan.order))
    wanted = needs(ordered)
    arena = plan_graph(replace(ordered, plan=plan.offsets))
    assert arena.arena_bytes == plan.arena_bytes <= plan.before_bytes
    assert plan.before_bytes == plan_graph(graph).arena_bytes
    assert most_alive(wanted) == plan.live_bytes <= plan.arena_bytes
    for i, a in enumerate(arena.buffers):
        for b in arena.buffers[i + 1 :]:
            together = a.first <= b.last and b.first <= a.last
            assert not (together and a.offset < b.offset + b.size and b.offset < a.offset + a.size)


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 20), st.integers(0, 6)), max_size=25).map(
        lambda drawn: [Need(i, "", 16 * s, f, f + d) for i, (s, f, d) in enumerate(drawn)]
    )
)
def test_offsets_are_free_aligned_and_repeat(wanted: list[Need]) -> None:
    offsets = search_offsets(wanted)
    assert offsets == search_offsets(wanted)
    assert all(offset >= 0 and offset % 16 == 0 for offset in offsets)
    placed = list(zip(wanted, offsets, strict=True))
    for i, (a, at_a) in enumerate(placed):
        for b, at_b in placed[i + 1 :]:
            together = a.first <= b.last and b.first <= a.last
            assert not (together and at_a < at_b + b.size and at_b < at_a + a.size)


def outputs(content: bytes) -> list[bytes]:
    """The bytes of all outputs for a drawn sample, by LiteRT."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    rng = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        drawn = rng.normal(size=detail["shape"]) * (50 if detail["dtype"] == np.int8 else 1)
        interpreter.set_tensor(detail["index"], drawn.astype(detail["dtype"]))
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]).tobytes() for d in interpreter.get_output_details()]


@pytest.mark.parametrize("name", GAPS)
def test_gaps_are_filled_and_outputs_stay(edge_file: EdgeFile, name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    content = edge_file(name).read_bytes()
    path.write_bytes(content)
    before = plan_arena(path)
    plan = plan_memory(path)
    assert plan.pays
    after = plan_arena(path)
    assert after.arena_bytes == plan.arena_bytes < before.arena_bytes
    assert plan.arena_bytes == plan.live_bytes
    assert outputs(path.read_bytes()) == outputs(content)
    planned = path.read_bytes()
    assert not plan_memory(path).pays
    assert path.read_bytes() == planned


@pytest.mark.parametrize("name", TIGHT)
def test_what_has_no_gaps_stays_as_it_is(edge_file: EdgeFile, name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(edge_file(name).read_bytes())
    assert not plan_memory(path).pays
    assert path.read_bytes() == edge_file(name).read_bytes()


@pytest.mark.parametrize("name", mostly_slow(GAPS, "mobilenet_int8"))
def test_tflm_takes_exactly_the_arena_of_the_plan(
    edge_file: EdgeFile, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runtime = pytest.importorskip("tflite_micro").runtime
    path = tmp_path / "a.tflite"
    path.write_bytes(edge_file(name).read_bytes())

    def run(arena: int) -> list[bytes]:
        interpreter = runtime.Interpreter.from_file(str(path), arena_size=arena)
        detail = interpreter.get_input_details(0)
        drawn = np.random.default_rng(0).integers(-128, 128, detail["shape"])
        interpreter.set_input(drawn.astype(detail["dtype"]), 0)
        interpreter.invoke()
        interpreter.print_allocations()
        return [interpreter.get_output(0).tobytes()]

    def told(what: str) -> int:
        said = capfd.readouterr().err
        return int(said.split(f"Arena allocation {what} ")[1].split()[0])

    enough = plan_arena(path).arena_bytes + (1 << 20)
    expected = run(enough)
    own = told("total")
    plan = plan_memory(path)
    assert run(enough) == expected
    needed = told("total")
    assert own - needed == plan.before_bytes - plan.arena_bytes
    # Between its two ends TFLM leaves no more than their alignment.
    assert run(needed + 16) == expected
    with pytest.raises(RuntimeError):
        run(needed - 16)


def test_a_graph_with_state_or_control_flow_keeps_its_order(edge_file: EdgeFile) -> None:
    graph = read_graph(edge_file("streaming_float"))
    assert search_order(graph) == tuple(range(len(graph.operators)))


def test_a_size_that_is_free_is_not_planned(edge_file: EdgeFile) -> None:
    graph = read_graph(edge_file("mobilenet_int8"))
    first = graph.operators[0].outputs[0]
    free = (*graph.tensors[:first], replace(graph.tensors[first], free=(1,)))
    open_graph = replace(graph, tensors=(*free, *graph.tensors[first + 1 :]))
    assert search_plan(graph).pays
    assert not search_plan(open_graph).pays


def test_what_lies_behind_the_model_stays(edge_file: EdgeFile, tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(edge_file("mobilenet_int8").read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "nobody\nperson\n")
    assert plan_memory(path).pays
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt") == b"nobody\nperson\n"


def test_an_archive_that_is_too_large_is_one_line(
    edge_file: EdgeFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(edge_file("mobilenet_int8").read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "nobody\nperson\n")
    before = path.read_bytes()
    monkeypatch.setattr("edgepress.benchmarks.tflite.planning.memory_plan._MOST_BYTES", 10)
    with pytest.raises(InputError, match="archive behind"):
        plan_memory(path)
    assert path.read_bytes() == before
