"""A benchmark on the terminal."""

from __future__ import annotations

from typing import Any

import pytest

from edgepress.deploy.cli.benchmark_display import show_benchmark


def document(**row: Any) -> dict[str, Any]:
    numbers = ("bytes", "gzip_bytes", "zstd_bytes", "p90_ms", "p99_ms", "throughput_per_s",
               "first_ms", "peak_memory_bytes", "arena_bytes")  # fmt: skip
    told = {"label": "net.tflite", "device": "npu", "metric": "accuracy", "value": 0.9,
            "runtime": "TFLM", "method": "an emulator", "xnnpack": None, "delegates": None,
            "providers": None, "threads": 1, "runs": 3, "launches": 1, "median_ms": 2.0,
            "ci95_ms": [1.9, 2.1], "timing_valid": True, "notes": [], "steady": True,
            "outliers": 0}  # fmt: skip
    return {"rows": [{**dict.fromkeys(numbers, 7), **told, **row}], "devices": [{"name": "npu"}],
            "comparisons": [], "profiles": []}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "cell"),
    [
        ({}, " 2 "),
        ({"timing_valid": False}, "2 (emulated)"),
        ({"timing_valid": False, "method": "Vela's performance model"}, "2 (estimated)"),
    ],
)
def test_a_time_that_is_not_real_is_marked_beside_its_figure(
    row: dict[str, Any], cell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_benchmark(document(**row))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert cell in line
