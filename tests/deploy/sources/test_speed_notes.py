"""A file that is slower than its float32 sibling says so and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgepress.benchmarks.measurement import Samples, Series, SessionFacts
from edgepress.benchmarks.results import BenchmarkResult, DeviceResult, MeasuredFile, measured
from edgepress.benchmarks.target import RunOptions
from edgepress.deploy.benchmarking.speed_notes import NetworkFile, likely_reason, with_speed_notes


def _timed(files: dict[Path, float], threads: dict[Path, int] | None = None) -> BenchmarkResult:
    """A benchmark in which files took so many milliseconds."""
    rows = tuple(
        measured(
            (str(path), path.name), path, MeasuredFile("", path), "local",
            Series(((Samples("latency", "ns", "a clock", (ms * 1e6,) * 3),),)),
            (SessionFacts("a runtime"),), [1.0], steady=True, timing_valid=True, seed=0,
            options=RunOptions(threads=(threads or {}).get(path, 1)),
        )
        for path, ms in files.items()
    )  # fmt: skip
    return BenchmarkResult((DeviceResult("local", "local", True, None, rows, (), 0.05),))


def _notes(result: BenchmarkResult) -> list[tuple[str, ...]]:
    return [m.facts.notes for m in with_speed_notes(result).measurements]


@pytest.mark.parametrize("name", ["tflite", "onnx"])
def test_a_slower_file_says_so_with_a_reason_and_a_remedy(name: str, kinds: Any) -> None:
    whole, int8 = kinds.files[name], kinds.files[f"{name} int8"]
    (none, (note,)) = _notes(_timed({whole: 1.0, int8: 1.5}))
    assert none == ()
    assert note.startswith(f"takes 1.5 times as long as its float32 sibling {whole.name}, likely")
    assert "depthwise" in note
    assert f"{whole.name} is the fastest of this network here (1 ms)" in note


def test_what_is_not_slower_or_has_no_sibling_says_nothing(kinds: Any) -> None:
    whole, int8 = kinds.files["tflite"], kinds.files["tflite int8"]
    other = kinds.files["onnx int8"]
    for result in (
        _timed({whole: 1.0, int8: 0.5}),
        _timed({whole: 1.0, int8: 1.04}),  # within the noise
        _timed({whole: 1.0, other: 2.0}),  # of another format
        _timed({whole: 1.0, int8: 2.0}, {int8: 2}),  # with more threads
        _timed({int8: 2.0}),
        _timed({whole: 1.0, Path("gone.tflite"): 2.0}),
    ):
        assert not any(_notes(result))


@pytest.mark.parametrize(
    ("precision", "mine", "whole", "word"),
    [
        ("int8", {"CONV_2D": 60}, {"WHILE": 1, "CONV_2D": 9}, "unrolled, 60 operators"),
        ("int8", {"CONV_2D": 9, "QUANTIZE": 4}, {"CONV_2D": 9}, "4 operators more convert"),
        ("int8", {"CONV_2D": 9, "DEPTHWISE_CONV_2D": 9}, {}, "9 of its operators are depthwise"),
        ("dynamic", {"CONV_2D": 9}, {"CONV_2D": 9}, "again in every inference"),
        ("int16x8", {"CONV_2D": 9}, {"CONV_2D": 9}, "16-bit"),
        ("int8", {"CONV_2D": 9}, {"CONV_2D": 9}, "int8 kernels"),
    ],
)
def test_the_reason_is_that_of_the_file(
    precision: str, mine: dict[str, int], whole: dict[str, int], word: str
) -> None:
    file = NetworkFile("tflite", precision, (), 1, mine)
    assert word in likely_reason(file, NetworkFile("tflite", "float32", (), 1, whole))
