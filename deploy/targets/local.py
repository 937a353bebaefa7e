"""The machine that edgepress itself runs on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepress.benchmarks.operator_costs import Profile
from edgepress.benchmarks.operators.profile import profile_artifact
from edgepress.benchmarks.runtimes.host_info import read_environment
from edgepress.benchmarks.session import RUNNER_TAKES, RuntimeSession
from edgepress.benchmarks.target import RunOptions
from edgepress.compress.errors import InputError


@dataclass(frozen=True)
class LocalTarget:
    """This machine; every artifact runs in a child process of its own.

    Attributes:
        name: How the user calls it.
        url: Its address.
        timing_valid: Yes.
        estimated: No.
        on_this_machine: Yes.
        gives_outputs: Yes.
        takes: Every option.
        sysfs: Where the kernel tells of energy, heat and frequency.
    """

    name: str = "local"
    url: str = "local"
    timing_valid: bool = True
    estimated: bool = False
    on_this_machine: bool = True
    gives_outputs: bool = True
    takes: frozenset[str] = RUNNER_TAKES
    sysfs: str = "/sys"

    def environment(self) -> dict[str, Any]:
        """The machine and its present state."""
        return read_environment(self.sysfs)

    def open(self, path: Path, options: RunOptions) -> RuntimeSession:
        """Load an artifact in a new child process."""
        return RuntimeSession(path, options, sysfs=self.sysfs)

    def profile(self, path: Path, options: RunOptions) -> Profile:
        """Each operator cut out and timed alone, or ONNX Runtime's own profile."""
        return profile_artifact(path, options)

    def close(self) -> None:
        """Nothing to hang up."""


def local_target(url: str) -> LocalTarget:
    """The target for the address `local`.

    Raises:
        InputError: Something follows the name.
    """
    if url != "local":
        raise InputError(f"'{url}' is not a device", "this machine is called just 'local'")
    return LocalTarget()
