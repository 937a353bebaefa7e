"""A benchmark on the terminal."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from edgepress.benchmarks.number_format import significant
from edgepress.deploy.cli.benchmark_display import show_benchmark
from edgepress.deploy.cli.display import ConsoleProgress


def document(**row: Any) -> dict[str, Any]:
    numbers = ("bytes", "gzip_bytes", "zstd_bytes", "p90_ms", "p99_ms", "throughput_per_s",
               "first_ms", "peak_memory_bytes", "arena_bytes")  # fmt: skip
    told = {"artifact": "net.tflite", "label": "net.tflite", "device": "npu",
            "metric": "accuracy", "value": 0.9,
            "runtime": "TFLM", "method": "an emulator", "xnnpack": None, "delegates": None,
            "providers": None, "threads": 1, "runs": 3, "launches": 1, "median_ms": 2.0,
            "ci95_ms": [1.9, 2.1], "timing_valid": True, "notes": [], "steady": True,
            "outliers": 0}  # fmt: skip
    return {"rows": [{**dict.fromkeys(numbers, 7), **told, **row}], "devices": [{"name": "npu"}],
            "comparisons": [], "profiles": []}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "cell"),
    [
        ({}, " 2.00 ms "),
        ({"timing_valid": False}, "2.00 ms (emulated)"),
        ({"timing_valid": False, "method": "Vela's performance model"}, "2.00 ms (estimated)"),
    ],
)
def test_a_time_that_is_not_real_is_marked_beside_its_figure(
    row: dict[str, Any], cell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_benchmark(document(**row))
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("net.tflite ")]
    assert cell in line


def test_each_output_has_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    single = {"metric": "mae", "headline": False}
    boxes = [
        {"output": "box", "value": 2477.0, **single},
        {"output": "size", "value": 2.5, **single},
    ]
    show_benchmark(document(metrics=boxes))
    out = capsys.readouterr().out
    for name, value in (("box", significant(2477.0, 4)), ("size", "2.500")):
        (line,) = [line for line in out.splitlines() if line.startswith(name)]
        assert value in line


def test_devices_tell_their_progress_at_the_same_time(capfd: pytest.CaptureFixture[str]) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ConsoleProgress() as progress, ThreadPoolExecutor(8) as threads:

            def device(number: int) -> None:
                for done in range(40):
                    progress.stage(f"device {number}")
                    progress.step(done, 40, "rounds")

            list(threads.map(device, range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert capfd.readouterr().err.count("device 3") == 40
