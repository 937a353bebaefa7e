"""A command as the system counts it: processor time and memory of it and of its children."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

Command = Sequence[str | Path]


@dataclass(frozen=True)
class Spent:
    """What one call of a command took.

    Attributes:
        processor: Seconds of all threads, of the process and of those it waited for.
        clock: Seconds of the clock.
        memory: The most that one of its processes held, in MiB.
    """

    processor: float
    clock: float
    memory: float


def spent_by(command: Command) -> Spent:
    """Run a command to its end, one thread for each library that heeds the usual variables.

    Raises:
        RuntimeError: It failed; has its last words.
    """
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    child = subprocess.Popen(
        [str(part) for part in command], env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stderr is not None
    words = child.stderr.read()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{command[0]} failed: {words[-2000:]}")
    clock = time.perf_counter() - began
    return Spent(used.ru_utime + used.ru_stime, clock, used.ru_maxrss / 1024)


def alternate(ways: Mapping[str, Callable[[], Spent]], rounds: int) -> dict[str, list[Spent]]:
    """All ways in turns, so that whatever else the machine does meets all."""
    found: dict[str, list[Spent]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(way())
    return found


def compared(found: Mapping[str, Sequence[Spent]], against: str) -> str:
    """A line for each way: medians, and the median ratio of paired rounds to one of them."""
    lines = []
    for name, spent in found.items():
        ratios = sorted(
            a.processor / b.processor for a, b in zip(spent, found[against], strict=True)
        )
        lines.append(
            f"{name:20} {statistics.median(s.processor for s in spent):7.2f} processor s"
            f" {statistics.median(s.clock for s in spent):7.2f} s"
            f" {statistics.median(s.memory for s in spent):7.0f} MiB"
            f"  x{statistics.median(ratios):.2f} (x{ratios[0]:.2f} to x{ratios[-1]:.2f})"
        )
    return "\n".join(lines)


def surroundings(rounds: int) -> str:
    """Versions and machine, for the head of a table."""
    names = ("tensorflow", "keras", "onnxruntime", "tf2onnx", "ai-edge-litert")
    said = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{said}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {rounds} rounds"
