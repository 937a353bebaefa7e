"""Time by operator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepress.benchmarks.cutting import cut_operators
from edgepress.benchmarks.profile import machine_peak, profile_artifact
from edgepress.benchmarks.runtime import Runtime
from edgepress.benchmarks.tflite_file import read_graph
from edgepress.benchmarks.tflite_macs import operator_macs


def test_operators_one_after_the_other_compute_the_whole(
    resnet_float: Path, tmp_path: Path
) -> None:
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


def test_the_macs_of_resnet8(resnet_float: Path) -> None:
    graph = read_graph(resnet_float)
    macs = sum(operator_macs(graph, operator) or 0 for operator in graph.operators)
    assert macs == 12_501_632


def test_a_profile_accounts_for_every_operator(resnet_int8: Path) -> None:
    profile = profile_artifact(resnet_int8, runs=10)
    assert len(profile.operators) == len(read_graph(resnet_int8).operators)
    assert sum(o.share for o in profile.operators) == pytest.approx(1)
    assert {o.bound for o in profile.operators if o.operator == "CONV_2D"} <= {"compute", "memory"}
    assert all(o.gflops is None for o in profile.operators if o.operator == "SOFTMAX")
    assert "isolated-operator estimate" in profile.notes[0]


def test_what_cannot_be_cut_is_said(shared_data: Path) -> None:
    path = shared_data / "models/tflite/wakeword_okay_nabu_streaming.tflite"
    profile = profile_artifact(path, runs=5)
    assert any("can't run alone" in note for note in profile.notes)


def test_onnx_has_its_own_profile(onnx_file: Path) -> None:
    profile = profile_artifact(onnx_file, runs=10)
    assert profile.operators
    assert profile.to_json()["operators"][0]["share"] > 0


def test_the_peak_is_measured() -> None:
    found = machine_peak(1)
    assert found["gflops"] > 0.1
    assert found["gbytes_per_s"] > 0.1
