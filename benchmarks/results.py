"""What a benchmark gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgepress.benchmarks.accuracy import Judged
from edgepress.benchmarks.measurement import Environment, Series, SessionFacts
from edgepress.benchmarks.statistics.intervals import (
    Comparison,
    Interval,
    median_interval,
    outliers,
)
from edgepress.benchmarks.target import RunOptions
from edgepress.compress.kernel.figures import OutputMetric
from edgepress.compress.kernel.files import gzip_size, sha256, zstd_size

_WITHOUT_DATA: dict[str, Any] = {"metric": None, "value": None, "split": None, "metrics": []}


@dataclass(frozen=True)
class MeasuredFile:
    """What was measured, as the user knows it.

    Attributes:
        name: The name that the user gave it; empty without one.
        path: The path that the user gave.
    """

    name: str
    path: Path

    def to_json(self) -> dict[str, Any]:
        """Name and path as given: by these a later benchmark recognises it."""
        return {"name": self.name or None, "file": str(self.path)}


@dataclass(frozen=True)
class Measurement:
    """One artifact measured on one device.

    Attributes:
        name: How it is called in comparisons: its path as given.
        label: How it is called in tables.
        path: The artifact.
        file: What the user named.
        device: The device's name.
        options: How it was run.
        series: The raw samples.
        interval: 95 % interval of the median, in the series' unit.
        first_ns: The first inference after loading, median over the launches.
        facts: What the device told beside the latency.
        steady: Whether every launch got steady before it was measured.
        timing_valid: Whether the times are those of real hardware.
        peak_memory: Peak memory of each launch, where it is known.
        judged: How it did on data, or None without any.
    """

    name: str
    label: str
    path: Path
    file: MeasuredFile
    device: str
    options: RunOptions
    series: Series
    interval: Interval
    first_ns: float
    facts: SessionFacts
    steady: bool
    timing_valid: bool = True
    peak_memory: tuple[int, ...] = ()
    judged: Judged | None = None

    @property
    def metric(self) -> str | None:
        """Name of the metric, or None without data."""
        return self.judged.metric if self.judged else None

    @property
    def value(self) -> float | None:
        """The metric, or None where it couldn't be taken."""
        return self.judged.value if self.judged else None

    @property
    def metrics(self) -> tuple[OutputMetric, ...]:
        """The metric of each output; `value` is their headline."""
        return self.judged.metrics if self.judged else ()

    @property
    def split(self) -> str | None:
        """The data that the metric was measured on."""
        return self.judged.split if self.judged else None

    @property
    def median_ms(self) -> float:
        """The median latency."""
        return float(np.median(self.series.values)) / 1e6

    @property
    def throughput_per_s(self) -> float | None:
        """Samples each second at the median latency."""
        return (self.options.batch or 1) * 1e3 / self.median_ms if self.median_ms else None

    def to_json(self) -> dict[str, Any]:
        """A row of the `benchmark` document."""
        ms = self.series.values / 1e6
        p90, p95, p99 = (float(q) for q in np.quantile(ms, [0.9, 0.95, 0.99]))
        return {
            "artifact": self.name,
            "label": self.label,
            "path": str(self.path),
            **self.file.to_json(),
            "format": self.path.suffix.lstrip(".").lower(),
            "device": self.device,
            "bytes": self.path.stat().st_size,
            "gzip_bytes": gzip_size(self.path),
            "zstd_bytes": zstd_size(self.path),
            "sha256": sha256(self.path),
            "runs": len(ms),
            "threads": self.options.threads,
            "batch": self.options.batch or 1,
            **self._runtime(),
            "load_ms": self.facts.load_ms,
            "first_ms": self.first_ns / 1e6,
            "min_ms": float(ms.min()),
            "median_ms": self.median_ms,
            "mean_ms": float(ms.mean()),
            "std_ms": float(ms.std()),
            "p90_ms": p90,
            "p95_ms": p95,
            "p99_ms": p99,
            "max_ms": float(ms.max()),
            "ci95_ms": [self.interval.low / 1e6, self.interval.high / 1e6],
            "outliers": outliers(ms),
            "throughput_per_s": self.throughput_per_s,
            "peak_memory_bytes": self.facts.peak_memory_bytes,
            "peak_memory_launches_bytes": list(self.peak_memory),
            "resident_bytes": self.facts.resident_bytes,
            "arena_bytes": self.facts.arena_bytes,
            **self._energy(),
            **(self.judged.to_json() if self.judged else _WITHOUT_DATA),
            "runtime": self.facts.runtime,
            "method": self.series.first.method,
            "launches": len(self.series.launches),
            "steady": self.steady,
            "timing_valid": self.timing_valid,
            "notes": list(self.facts.notes),
            "samples_ms": [round(float(v), 6) for v in ms],
        }

    def _energy(self) -> dict[str, Any]:
        """Energy of one inference, over all and by launch, where it was counted."""
        if (energy := self.series.energy_mj) is None:
            return {}
        launches = [Series((rounds,)).energy_mj for rounds in self.series.launches]
        return {"energy_mj": energy, "energy_launches_mj": [e for e in launches if e is not None]}

    def _runtime(self) -> dict[str, Any]:
        """What was used in the runtime; fields of the other runtime are null."""
        tflite = self.path.suffix.lower() == ".tflite"
        delegates = [
            ",".join([library, *(f"{k}={v}" for k, v in options.items())])
            for library, options in self.options.delegates
        ]
        return {
            "xnnpack": self.options.xnnpack if tflite else None,
            "delegates": delegates if tflite else None,
            "providers": None if tflite else list(self.facts.providers),
            "cpus": list(self.facts.cpus),
        }


@dataclass(frozen=True)
class Failure:
    """An artifact that a device could not measure, or a device that could not be reached.

    Attributes:
        device: Its name.
        artifact: The file; empty where the device could not be used at all.
        reason: Why.
        refused: Whether the file is to blame: this machine's runtime can't take it.
    """

    device: str
    artifact: str
    reason: str
    refused: bool = False


@dataclass(frozen=True)
class DeviceResult:
    """Everything from one device.

    Attributes:
        device: Its name.
        url: Its address, or the name again.
        timing_valid: Whether its times are those of real hardware.
        environment: Its state before and after, or None where it can't say.
        measurements: In the order of the artifacts.
        comparisons: Of each pair.
        noise: Smallest relative difference that this run could see, from an artifact against
            itself; None where nothing was compared.
        failures: What could not be measured.
        profiles: Time by operator, by artifact, where asked for.
    """

    device: str
    url: str
    timing_valid: bool
    environment: Environment | None
    measurements: tuple[Measurement, ...]
    comparisons: tuple[Comparison, ...] = ()
    noise: float | None = None
    failures: tuple[Failure, ...] = ()
    profiles: tuple[dict[str, Any], ...] = ()

    def describe(self) -> dict[str, Any]:
        """The device as in the `benchmark` document."""
        state = self.environment.to_json() if self.environment else {"warnings": []}
        return {
            "name": self.device,
            "url": self.url,
            "timing_valid": self.timing_valid,
            "smallest_difference": self.noise,
            **state,
        }


@dataclass(frozen=True)
class BenchmarkResult(Sequence[Measurement]):
    """The outcome of one benchmark over one or more devices: a sequence of its measurements.

    Attributes:
        devices: One result each.
        files: Everything that was to be measured, whether or not it could be.
    """

    devices: tuple[DeviceResult, ...]
    files: tuple[MeasuredFile, ...] = ()

    @property
    def profiles(self) -> tuple[dict[str, Any], ...]:
        """Time by operator, of all devices."""
        return tuple(p for device in self.devices for p in device.profiles)

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """Of all devices."""
        return tuple(m for device in self.devices for m in device.measurements)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Of all devices."""
        return tuple(f for device in self.devices for f in device.failures)

    def __getitem__(self, index: Any) -> Any:
        return self.measurements[index]

    def __len__(self) -> int:
        return len(self.measurements)

    def to_json(self) -> dict[str, Any]:
        """The `benchmark` document; with several devices each row names its own."""
        return {
            "device": self.devices[0].describe(),
            "devices": [device.describe() for device in self.devices],
            "files": [file.to_json() for file in self.files],
            "rows": [m.to_json() for m in self.measurements],
            "comparisons": [
                {**c.to_json(), "device": d.device} for d in self.devices for c in d.comparisons
            ],
            "failures": [vars(f) for f in self.failures],
            "profiles": list(self.profiles),
        }


def measured(
    names: tuple[str, str],
    path: Path,
    file: MeasuredFile,
    device: str,
    series: Series,
    facts: tuple[SessionFacts, ...],
    first_ns: list[float],
    *,
    options: RunOptions,
    steady: bool,
    timing_valid: bool,
    seed: int,
) -> Measurement:
    """A measurement from the launches: medians of what each of them told."""
    return Measurement(
        *names,
        path,
        file,
        device,
        options,
        series,
        median_interval(series, seed),
        float(np.median(first_ns)),
        _typical(facts),
        steady,
        timing_valid,
        tuple(f.peak_memory_bytes for f in facts if f.peak_memory_bytes is not None),
    )


def _typical(facts: tuple[SessionFacts, ...]) -> SessionFacts:
    """The median over launches of every figure that all of them told."""
    if not facts:
        return SessionFacts("unknown", notes=("the device failed before it told more",))

    def median(field: str) -> Any:
        values = [getattr(f, field) for f in facts if getattr(f, field) is not None]
        return sorted(values)[len(values) // 2] if values else None

    return replace(
        facts[0],
        load_ms=median("load_ms"),
        peak_memory_bytes=median("peak_memory_bytes"),
        resident_bytes=median("resident_bytes"),
        notes=tuple(dict.fromkeys(note for f in facts for note in f.notes)),
    )
