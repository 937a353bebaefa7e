"""TensorFlow Lite Micro on this machine, in a process of its own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from edgepress.benchmarks.runtimes.runtime import LocalChannel, Runtime

_RUNNER = "edgepress.benchmarks.runtimes.micro_runner"


def has_micro() -> bool:
    """Whether the package tflite-micro is installed."""
    return find_spec("tflite_micro") is not None


def micro_runtime(path: Path, timeout: float = 300.0) -> Runtime:
    """A `.tflite` file in TFLM's interpreter.

    Args:
        path: The file.
        timeout: Seconds that one request may take.
    """
    return Runtime(path, timeout=timeout, channel=LocalChannel(("-m", _RUNNER)), runtime="tflm")
