"""What a device is: something that opens an artifact and runs jobs on it.

A new kind of device implements `Target` and `Session`, and gets one line in `deploy.targets`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from edgepress.benchmarks.measurement import Samples, SessionFacts

if TYPE_CHECKING:
    from edgepress.benchmarks.operator_costs import Profile


@dataclass(frozen=True)
class RunOptions:
    """How an artifact is run.

    Attributes:
        threads: Threads of the runtime.
        batch: Samples in one inference, where the artifact leaves that free.
        xnnpack: Whether LiteRT applies XNNPACK by default.
        delegates: LiteRT delegates as (library, options).
        providers: ONNX Runtime's execution providers; the CPU's by default.
        cpus: Cores that the process is bound to; all by default.
        timeout: Seconds that one request may take.
    """

    threads: int = 1
    batch: int | None = None
    xnnpack: bool = True
    delegates: tuple[tuple[str, dict[str, str]], ...] = ()
    providers: tuple[str, ...] = ()
    cpus: tuple[int, ...] = ()
    timeout: float = 300.0


@dataclass(frozen=True)
class Job:
    """One uninterrupted stretch of inferences.

    Attributes:
        runs: How many count.
        discard: How many run before, not counted: they bring code and weights into the caches.
        max_seconds: When to stop early, after at least one.
    """

    runs: int
    discard: int = 0
    max_seconds: float = 1e6


class Session(Protocol):
    """An artifact loaded on a device. `run` is what matters."""

    def run(self, job: Job) -> Samples:
        """Run a job.

        Raises:
            DeviceError: The device failed.
        """

    def facts(self) -> SessionFacts:
        """What is known beside the latency; asked after at least one inference."""

    def predict(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs for real inputs, by name, (n, …) each.

        Raises:
            DeviceError: The device failed, or can't give outputs back.
        """


class Target(Protocol):
    """A device."""

    @property
    def name(self) -> str:
        """How the user calls it."""

    @property
    def timing_valid(self) -> bool:
        """Whether its times are those of real hardware; an emulator's are never ranked."""

    @property
    def estimated(self) -> bool:
        """Whether its times come from a model of the hardware, the same at every run."""

    @property
    def on_this_machine(self) -> bool:
        """Whether it works on this machine, so that no two such may run at once."""

    @property
    def takes(self) -> frozenset[str]:
        """Fields of `RunOptions` that it honours, and `profile` where it has one.

        The others are refused before any work.
        """

    @property
    def gives_outputs(self) -> bool:
        """Whether outputs come back, so that the accuracy can be measured on it."""

    def environment(self) -> dict[str, Any]:
        """The machine and its present state.

        Raises:
            DeviceError: The device can't be reached or lacks something; the hint is the cure.
        """

    def open(self, path: Path, options: RunOptions) -> AbstractContextManager[Session]:
        """Load an artifact in a fresh process on the device; leaving removes every trace of it.

        Raises:
            DeviceError: The device can't be reached or can't load the artifact.
            InputError: The device has no runtime for such a file.
        """

    def profile(self, path: Path, options: RunOptions) -> Profile:
        """The time of each operator of an artifact.

        Raises:
            DeviceError: The device failed, or has no way to tell.
        """

    def close(self) -> None:
        """Hang up."""
