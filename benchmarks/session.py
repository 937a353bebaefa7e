"""A session over the runner script, wherever that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgepress.benchmarks.host import energy_between, read_energy
from edgepress.benchmarks.measurement import Samples, SessionFacts
from edgepress.benchmarks.memory import plan_arena
from edgepress.benchmarks.runtime import Channel, Runtime
from edgepress.benchmarks.target import Job, RunOptions

_METHODS = {
    ".tflite": "wall clock around Interpreter.invoke, inputs set before",
    ".onnx": "wall clock around InferenceSession.run, inputs and outputs included",
}
_NAMES = {".tflite": "LiteRT", ".onnx": "ONNX Runtime"}


class RuntimeSession:
    """An artifact in the runner; a context manager.

    Args:
        path: The artifact, on this machine.
        options: How it is run.
        channel: The way to the runner; a child process here by default.
    """

    def __init__(self, path: Path, options: RunOptions, channel: Channel | None = None) -> None:
        self.path, self.options = path, options
        self._here = channel is None
        self._energy: list[tuple[int, int]] = []
        self.runtime = Runtime(
            path,
            threads=options.threads,
            timeout=options.timeout,
            xnnpack=options.xnnpack,
            delegates=options.delegates,
            providers=options.providers,
            batch=options.batch,
            cpus=options.cpus,
            channel=channel,
        )

    def __enter__(self) -> RuntimeSession:
        self.runtime.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.runtime.close()

    def run(self, job: Job) -> Samples:
        """Time the job's inferences on made-up input."""
        request = {
            "do": "time",
            "n": job.runs,
            "discard": job.discard,
            "max_seconds": job.max_seconds,
        }
        before = read_energy() if self._here else {}
        reply = self.runtime.ask(request)
        used = energy_between(before, read_energy()) if before else None
        if used is not None:
            self._energy.append((used, len(reply["ns"]) + len(reply["discarded_ns"])))
        return Samples(
            "latency",
            "ns",
            _METHODS[self.path.suffix.lower()],
            tuple(reply["ns"]),
            tuple(reply["discarded_ns"]),
        )

    def facts(self) -> SessionFacts:
        """Load time and memory."""
        memory = self.runtime.memory()
        suffix = self.path.suffix.lower()
        plan = plan_arena(self.path) if suffix == ".tflite" else None
        return SessionFacts(
            runtime=f"{_NAMES[suffix]} {self.runtime.version}",
            load_ms=self.runtime.load_ms,
            peak_memory_bytes=memory["peak_bytes"] - memory["baseline_peak_bytes"],
            resident_bytes=memory["resident_bytes"],
            arena_bytes=plan.arena_bytes if plan else None,
            energy_uj=self._energy_each(),
            notes=(plan.warnings if plan else ()) + self._delegation(),
        )

    def _energy_each(self) -> float | None:
        """Microjoules of one inference, by the processor's counters over all jobs."""
        runs = sum(count for _, count in self._energy)
        return sum(used for used, _ in self._energy) / runs if runs else None

    def _delegation(self) -> tuple[str, ...]:
        """Whether XNNPACK, when asked for, took anything over."""
        operators = self.runtime.describe()["operators"]
        if operators and self.options.xnnpack and "DELEGATE" not in operators:
            return ("no operator was taken over by XNNPACK or a delegate",)
        return ()

    def predict(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs for real inputs."""
        return self.runtime.predict(inputs)
