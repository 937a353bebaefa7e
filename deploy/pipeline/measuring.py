"""Measuring the files of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.benchmarks.records import BenchmarkRecord, measured_inside
from edgepress.compress.errors import DeviceError, InputError
from edgepress.compress.kernel.progress import Progress
from edgepress.deploy.recipe import BenchmarkSpec

if TYPE_CHECKING:
    from edgepress.compress.data import Dataset
    from edgepress.deploy.benchmarking.benchmark import RunFile

_NOTHING: dict[str, Any] = {"device": {}, "devices": [], "rows": [], "comparisons": [],
                            "failures": [], "left_out": [], "profiles": []}  # fmt: skip


def measure_files(
    spec: BenchmarkSpec,
    files: Sequence[RunFile],
    folder: Path,
    seed: int,
    progress: Progress,
    data: Dataset | None = None,
) -> BenchmarkRecord:
    """Measure files that a finished run holds; what can't be measured is said, not raised.

    The models and files are whole by then: a device that fails, or an option that suits none of
    the files which came out, doesn't take them along.

    Args:
        spec: How, and on which devices.
        files: What to measure.
        folder: The run's folder, by which the record names them.
        seed: Of the order and the bootstrap.
        progress: Receives the progress.
        data: Data set for the accuracy, or None.
    """
    from edgepress.deploy.benchmarking.benchmark import benchmark_run

    if not files:
        return BenchmarkRecord.model_validate(_NOTHING)
    try:
        found, left_out = benchmark_run(files, spec, data=data, seed=seed, progress=progress)
    except (DeviceError, InputError) as error:
        failures = [
            {"device": device, "artifact": "", "reason": str(error.message)}
            for device in spec.devices
        ]
        return BenchmarkRecord.model_validate({**_NOTHING, "failures": failures})
    return measured_inside({**found, "left_out": left_out}, folder)
