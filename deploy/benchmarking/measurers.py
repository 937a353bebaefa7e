"""What pruning measures on files and devices: bytes, arena, latency."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgepress.benchmarks.measuring import candidates, measure
from edgepress.benchmarks.operators.layer_times import LayerClock
from edgepress.benchmarks.statistics.sampling import Plan
from edgepress.benchmarks.target import RunOptions, Target
from edgepress.benchmarks.tflite.arena import plan_arena
from edgepress.compress.errors import DeviceError, InputError
from edgepress.compress.kernel.files import gzip_size, zstd_size
from edgepress.compress.kernel.progress import Progress, Silent
from edgepress.compress.processes.scratch import scratch_folder
from edgepress.compress.specs.pruning import ChannelsSpec
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.structure.budgets.layer_size import LayerSize
from edgepress.compress.structure.budgets.measured_targets import measured_target
from edgepress.deploy.exporters import EXPORTERS
from edgepress.deploy.exporters.exporter import Unsupported, Written
from edgepress.deploy.exporting.export import convert
from edgepress.deploy.exporting.workspace import converted
from edgepress.deploy.process.sharing import working
from edgepress.deploy.process.worker import Worker
from edgepress.deploy.targets import target_for

if TYPE_CHECKING:
    import keras

_PACKED = {"gzip": gzip_size, "zstd": zstd_size}
_PLAN = Plan(runs=150, launches=3, rounds=5, max_seconds=30.0)


def latency_folder() -> Path:
    """Where times of layers are kept: `edgepress/layers` in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edgepress" / "layers"


@contextmanager
def instruments_for(
    spec: PruneSpec, worker: Worker | None = None, progress: Progress | None = None
) -> Iterator[Bench | None]:
    """The instruments that a pruning step needs; None where it needs none.

    Args:
        spec: The step: its target, device and threads.
        worker: Where files are converted; one of its own by default.
        progress: Told what is measured.

    Raises:
        InputError: There is no such device, or none whose latency can be measured.
    """
    device, threads, ships = None, 1, ("tflite", "float32")
    if isinstance(spec, ChannelsSpec):
        device, threads = spec.device, spec.threads
        ships = spec.target_format, spec.target_precision
    if measured_target(spec) is None and device is None:
        yield None
        return
    target = None if device is None else clocked_target(device)
    options, watch = RunOptions(threads=threads), progress or Silent()
    try:
        with working(worker) as at:
            yield Bench(at, target, options, watch, *ships)
    finally:
        if target is not None:
            target.close()


def clocked_target(device: str) -> Target:
    """A device with a clock.

    Raises:
        InputError: It is unknown, or its times are not those of hardware.
    """
    target = target_for(device)
    address = getattr(target, "url", target.name)
    if address.startswith("mcu:") or target.estimated or not target.timing_valid:
        raise InputError(
            f"no latency of single layers can be measured on '{device}'",
            "give local, ssh://user@host or adb:SERIAL; for microcontrollers --target-macs,"
            " --target-size or --target-arena",
        )
    return target


class Bench:
    """The instruments; keeps the first model's file, which later ones are measured against.

    Args:
        worker: Where files are converted.
        target: The device, or None.
        options: How files are run there.
        progress: Told what is measured.
        format: Of the file whose size and arena are measured, "tflite" or "c".
        precision: Its precision.
    """

    def __init__(
        self,
        worker: Worker | None,
        target: Target | None,
        options: RunOptions,
        progress: Progress,
        format: str = "tflite",
        precision: str = "float32",
    ) -> None:
        self._worker, self._target = worker, target
        self._format, self._precision = format, precision
        self._options, self._progress = options, progress
        self._first: tuple[bytes, float] | None = None

    def size(self, model: keras.Model) -> float:
        """Bytes of the file that ships."""
        with self._shipped(model) as written:
            return float(written.runnable.stat().st_size)

    def packed_size(self, model: keras.Model, packing: str) -> float:
        """Bytes of the model's float32 TFLite file as gzip or zstd packs it."""
        with self._file(model) as path:
            return float(_PACKED[packing](path))

    def arena(self, model: keras.Model) -> float:
        """Bytes of RAM for the file that ships: its activations, the whole arena of C sources."""
        with self._shipped(model) as written:
            if written.arena_bytes is not None:
                return float(written.arena_bytes)
            return float(plan_arena(written.runnable).arena_bytes)

    def latency(self, model: keras.Model) -> float:
        """Milliseconds of the float32 TFLite file on the device.

        The first model's is the median; each later one is measured in turns with the first, and
        its ratio counts: a machine that changed its speed in between doesn't.
        """
        with self._file(model) as path:
            if self._first is None:
                value = self._run([path])
                self._first = path.read_bytes(), value
                return value
            first, value = self._first
            reference = path.with_name("reference.tflite")
            reference.write_bytes(first)
            return value * self._run([reference, path])

    def layer_times(self, sizes: Sequence[LayerSize]) -> Mapping[LayerSize, float]:
        """Milliseconds of single layers, measured once and kept."""
        assert self._target is not None
        clock = LayerClock(self._target, self._options, latency_folder(), self._progress)
        return clock.times(sizes)

    @contextmanager
    def _shipped(self, model: keras.Model) -> Iterator[Written]:
        with scratch_folder() as folder:
            out = folder / f"model{EXPORTERS[self._format].suffix}"
            try:
                with converted(model, out, self._format, self._precision, self._worker) as written:
                    yield written
            except (Unsupported, DeviceError) as error:
                raise InputError(
                    f"the model has no {self._format} file in {self._precision} to measure:"
                    f" {error.format_message()}"
                ) from error

    @contextmanager
    def _file(self, model: keras.Model) -> Iterator[Path]:
        with scratch_folder() as folder:
            path = folder / "model.tflite"
            problem = convert(model, path, "tflite", "float32", self._worker)
            if problem:
                raise InputError(f"the model has no TFLite file to measure: {problem}")
            yield path

    def _run(self, paths: Sequence[Path]) -> float:
        """Milliseconds of one file, or the time of the second as a multiple of the first's."""
        assert self._target is not None
        chosen = candidates(paths, (self._options.threads,), (None,), self._options)
        result = measure(chosen, self._target, _PLAN)
        if result.failures:
            raise DeviceError(result.failures[0].reason)
        if len(paths) == 1:
            return float(np.median(result.measurements[0].series.values)) / 1e6
        return result.comparisons[0].ratio
