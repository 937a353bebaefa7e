"""A session over the runner script, wherever that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from edgepress.benchmarks.measurement import Samples, SessionFacts
from edgepress.benchmarks.runtimes.runtime import Channel, Runtime
from edgepress.benchmarks.target import Job, RunOptions
from edgepress.benchmarks.tflite.arena import plan_arena

# The options that the runner honours, here and on boards.
RUNNER_TAKES = frozenset(
    ("threads", "batch", "xnnpack", "delegates", "providers", "cpus", "profile")
)

_METHODS = {
    ".tflite": "wall clock around Interpreter.invoke, inputs set before",
    ".onnx": "wall clock around InferenceSession.run, inputs and outputs included",
}
_NAMES = {".tflite": "LiteRT", ".onnx": "ONNX Runtime"}


def runtime_with(
    path: Path,
    options: RunOptions,
    channel: Channel | None = None,
    kind: type[Runtime] = Runtime,
) -> Runtime:
    """An artifact in the runner, with the options of a run; not yet loaded."""
    return kind(
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


class RuntimeSession:
    """An artifact in the runner; a context manager.

    Args:
        path: The artifact, on this machine.
        options: How it is run.
        channel: The way to the runner; a child process here by default.
        sysfs: Where the machine's energy counters are.
        kind: How arrays go to that runner and come back.
        runtime: The artifact in another runner, made already; not yet loaded.
    """

    def __init__(
        self,
        path: Path,
        options: RunOptions,
        channel: Channel | None = None,
        sysfs: str = "/sys",
        kind: type[Runtime] = Runtime,
        runtime: Runtime | None = None,
    ) -> None:
        self.path, self.options = path, options
        self._sysfs = sysfs
        self.runtime = runtime or runtime_with(path, options, channel, kind)

    @property
    def method(self) -> str:
        """What its clock is around."""
        return _METHODS[self.path.suffix.lower()]

    def __enter__(self) -> Self:
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
            "sysfs": self._sysfs,
        }
        reply = self.runtime.ask(request)
        used, runs = reply["energy_uj"], len(reply["ns"]) + len(reply["discarded_ns"])
        return Samples(
            "latency",
            "ns",
            self.method,
            tuple(reply["ns"]),
            tuple(reply["discarded_ns"]),
            None if used is None else used / runs,
        )

    def facts(self) -> SessionFacts:
        """Load time and memory."""
        memory, description = self.runtime.memory(), self.runtime.describe()
        suffix = self.path.suffix.lower()
        plan = plan_arena(self.path) if suffix == ".tflite" else None
        return SessionFacts(
            runtime=f"{_NAMES[suffix]} {self.runtime.version}",
            load_ms=self.runtime.load_ms,
            peak_memory_bytes=memory["peak_bytes"] - memory["baseline_peak_bytes"],
            resident_bytes=memory["resident_bytes"],
            arena_bytes=plan.at_batch(self.options.batch) if plan else None,
            providers=tuple(description["providers"]),
            cpus=tuple(description["cpus"]),
            notes=(plan.warnings if plan else ()) + self._delegation(description["operators"]),
        )

    def _delegation(self, operators: list[str]) -> tuple[str, ...]:
        """Whether XNNPACK or a delegate, when asked for, took anything over."""
        asked = self.options.xnnpack or self.options.delegates
        if operators and asked and "DELEGATE" not in operators:
            return ("no operator was run by XNNPACK or a delegate",)
        return ()

    def predict(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs for real inputs."""
        return self.runtime.predict(inputs)
