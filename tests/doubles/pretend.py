"""A device whose true latency is known: what statistics are tested against."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgepress.benchmarks.measurement import Samples, SessionFacts
from edgepress.benchmarks.operator_costs import Profile
from edgepress.benchmarks.statistics.sampling import Entrant
from edgepress.benchmarks.target import Job, RunOptions
from edgepress.compress.errors import DeviceError


@dataclass
class PretendSession:
    """Draws latencies: cold ones first, then noise around the true median."""

    median: float
    rng: np.random.Generator
    log: list[str]
    key: str
    fail_after: int | None = None
    cold: int = 6
    done: int = 0

    def run(self, job: Job) -> Samples:
        self.log.append(self.key)
        values = []
        for _ in range(job.discard + job.runs):
            self.done += 1
            if self.fail_after is not None and self.done > self.fail_after:
                raise DeviceError("the cable was pulled")
            slow = 1 + 4 * max(0, self.cold - self.done) / self.cold
            values.append(self.median * slow * float(np.exp(self.rng.normal(0, 0.02))))
        kept = tuple(values[job.discard :])
        return Samples("latency", "ns", "drawn", kept, tuple(values[: job.discard]))

    def facts(self) -> SessionFacts:
        return SessionFacts("pretend 1", load_ms=1.0)

    def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {"y": next(iter(inputs.values())) * 2}


@dataclass
class PretendTarget:
    """Latency by the artifact's size in bytes; each launch is off by a lasting share."""

    name: str = "pretend"
    timing_valid: bool = True
    estimated: bool = False
    on_this_machine: bool = False
    gives_outputs: bool = True
    takes: frozenset[str] = frozenset(("threads", "batch"))
    launch_noise: float = 0.01
    seed: int = 0
    fail_after: dict[str, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def environment(self) -> dict[str, Any]:
        return {"machine": "pretend", "cores": 1}

    @contextmanager
    def open(self, path: Path, options: RunOptions) -> Iterator[PretendSession]:
        off = float(np.exp(self.rng.normal(0, self.launch_noise)))
        median = path.stat().st_size * 1000.0 * off
        self.log.append(f"open {path.name}")
        yield PretendSession(median, self.rng, self.log, path.name, self.fail_after.get(path.name))
        self.log.append(f"close {path.name}")

    def profile(self, path: Path, options: RunOptions) -> Profile:
        raise DeviceError("it has no profiler")

    def close(self) -> None:
        self.log.append("hung up")


def entrant(target: PretendTarget, path: Path) -> Entrant:
    """The file in the race."""
    return Entrant(path.name, lambda: target.open(path, RunOptions()))
