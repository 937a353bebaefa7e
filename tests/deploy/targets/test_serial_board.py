"""Boards on a serial line: a firmware of ours on a real pseudo-terminal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import firmware
import numpy as np
import pytest

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.benchmarks.target import Job, RunOptions
from edgepress.compress.errors import DeviceError, InputError
from edgepress.deploy.benchmarking.benchmark import benchmark
from edgepress.deploy.targets import target_for


@contextmanager
def board(model: Path, *faulty: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, firmware.__file__, str(model), *faulty]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield f"mcu:{process.stdout.readline().strip()}?emulated=1", process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def wakeword(edge_file: Callable[[str], Path]) -> Path:
    return edge_file("lstm_int8")


def test_a_board_tells_times_outputs_and_memory(wakeword: Path) -> None:
    x = np.random.default_rng(0).random((2, 28, 28), np.float32)
    with Runtime(wakeword) as runtime:
        (expected,) = runtime.predict({"x": x[:1]}).values()
    with board(wakeword) as (url, _):
        target = target_for(url)
        assert target.environment()["processor"] == "simulated board"
        with target.open(wakeword, RunOptions()) as session:
            samples = session.run(Job(10, discard=1))
            (got,) = session.predict({"x": x[:1]}).values()
            assert session.facts().arena_bytes == 12345
        target.close()
    assert samples.values == (firmware.MICROSECONDS * 1e3,)
    np.testing.assert_allclose(got[:1], expected, atol=1 / 128)


def test_it_is_benchmarked_like_any_device(wakeword: Path) -> None:
    with board(wakeword) as (url, _):
        row = benchmark([wakeword], devices=[url], runs=4, launches=1).to_json()["rows"][0]
    assert row["median_ms"] == firmware.MICROSECONDS / 1e3
    assert not row["timing_valid"]


def test_another_model_in_the_firmware_is_noticed(wakeword: Path, resnet_int8: Path) -> None:
    with board(wakeword) as (url, _), pytest.raises(DeviceError, match="does not hold"):
        benchmark([resnet_int8], devices=[url], runs=1)


def test_a_pulled_board_is_one_line(wakeword: Path) -> None:
    with board(wakeword) as (url, process):
        target = target_for(url)
        with target.open(wakeword, RunOptions()) as session:
            process.kill()
            process.wait()
            with pytest.raises(DeviceError, match="was cut"):
                session.run(Job(1))
        target.close()


def test_a_silent_board_is_given_up(wakeword: Path) -> None:
    with board(wakeword, "infer") as (url, _), pytest.raises(DeviceError, match="in time"):
        benchmark([wakeword], devices=[url], runs=1, timeout=0.5)


def test_two_runs_exclude_each_other(wakeword: Path) -> None:
    with board(wakeword) as (url, _):
        first = target_for(url)
        first.environment()
        with pytest.raises(DeviceError, match="in use"):
            target_for(url).environment()
        first.close()


def test_addresses_are_checked() -> None:
    with pytest.raises(InputError, match="baud"):
        target_for("mcu:/dev/ttyUSB0?baud=12345")
    with pytest.raises(DeviceError, match="can't be opened"):
        target_for("mcu:/dev/there-is-no-such-board").environment()
