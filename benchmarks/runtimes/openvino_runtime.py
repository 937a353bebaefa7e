"""OpenVINO on this machine, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgepress.benchmarks.runtimes.runtime import LocalChannel, Runtime

_RUNNER = "edgepress.benchmarks.runtimes.openvino_runner"


def openvino_runtime(
    path: Path,
    threads: int = 1,
    *,
    precision: str = "f32",
    device: str = "CPU",
    timeout: float = 300.0,
    batch: int | None = None,
    cpus: Sequence[int] = (),
) -> Runtime:
    """A `.tflite` or `.onnx` file in OpenVINO.

    Args:
        path: The file.
        threads: Threads.
        precision: The type that kernels compute in, as OpenVINO calls it.
        device: Where, as OpenVINO calls it.
        timeout: Seconds that one request may take.
        batch: Batch size that timing uses, where the model's is free.
        cpus: Cores that the process is bound to; all by default.
    """
    return Runtime(
        path,
        threads=threads,
        timeout=timeout,
        batch=batch,
        cpus=cpus,
        channel=LocalChannel(("-m", _RUNNER)),
        runtime="openvino",
        options={"precision": precision, "device": device},
    )
