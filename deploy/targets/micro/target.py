"""Microcontrollers: TFLM's interpreter on this host, and Arm's estimate for Ethos-U.

`mcu:tflm` runs the file in TensorFlow Lite Micro: whether it runs at all, its arena and its outputs
are those of a microcontroller; its times are not. `mcu:ethos-u55-128` (and -32, -64, -256,
`ethos-u65-256`, `ethos-u65-512`, `ethos-u85-…`) asks Vela, Arm's compiler, for cycles and memory.

Source: tensorflow/tflite-micro; ethos-u-vela, its summary file.
"""

from __future__ import annotations

import csv
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgepress.benchmarks.measurement import Samples, SessionFacts
from edgepress.benchmarks.operator_costs import Profile
from edgepress.benchmarks.runtimes.host_info import read_environment
from edgepress.benchmarks.runtimes.micro_runtime import micro_runtime
from edgepress.benchmarks.target import Job, RunOptions, Session, Target
from edgepress.compress.errors import DeviceError, InputError
from edgepress.compress.kernel.registry import near_names
from edgepress.compress.processes.children import Late, run
from edgepress.compress.processes.scratch import scratch_folder

ACCELERATORS = (
    "ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256",
    "ethos-u65-256", "ethos-u65-512",
    "ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048",
)  # fmt: skip
_FILES = frozenset((".tflite",))
_VELA = "import sys; from ethosu.vela.vela import main; sys.exit(main(sys.argv[1:]))"
_INSTALL = "pip install --pre 'edgepress[micro]'"


def micro_target(url: str) -> Target:
    """The microcontroller behind `mcu:tflm`, `mcu:ethos-…` or `mcu:/dev/tty…`.

    Raises:
        InputError: There is no such one, or a package for it is missing.
    """
    kind = url.partition(":")[2]
    if kind.startswith("/"):
        from edgepress.deploy.targets.micro.serial_board import serial_target

        return serial_target(url)
    if kind == "tflm":
        _require("tflite_micro", "tflite-micro", url)
        return TflmTarget()
    if kind in ACCELERATORS:
        _require("ethosu", "ethos-u-vela", url)
        return EthosTarget(kind)
    hint = near_names(kind, ["tflm", *ACCELERATORS])
    raise InputError(f"'{url}' is no microcontroller known here", hint)


def _require(module: str, package: str, url: str) -> None:
    if find_spec(module) is None:
        raise InputError(f"'{url}' needs the package {package}", _INSTALL)


def _only_tflite(path: Path, name: str) -> None:
    if path.suffix.lower() != ".tflite":
        raise DeviceError(f"'{path.name}' can't run on '{name}'", "give a .tflite file")


@dataclass(frozen=True)
class TflmTarget:
    """TensorFlow Lite Micro on this host: right outputs and memory, meaningless times."""

    name: str = "mcu:tflm"
    url: str = "mcu:tflm"
    timing_valid: bool = False
    estimated: bool = False
    on_this_machine: bool = True
    gives_outputs: bool = True
    takes: frozenset[str] = frozenset()
    suffixes: frozenset[str] = _FILES

    def environment(self) -> dict[str, Any]:
        """This host, which plays the microcontroller."""
        return read_environment()

    def open(self, path: Path, options: RunOptions) -> TflmSession:
        """Load an artifact in TFLM in a new child process."""
        _only_tflite(path, self.name)
        return TflmSession(path, options)

    def profile(self, path: Path, options: RunOptions) -> Profile:  # noqa: ARG002
        """Not possible: its times are not those of a microcontroller."""
        raise DeviceError(f"'{self.name}' can't tell the time of each operator")

    def close(self) -> None:
        """Nothing to hang up."""


class TflmSession:
    """An artifact in TFLM."""

    def __init__(self, path: Path, options: RunOptions) -> None:
        self.runtime = micro_runtime(path, options.timeout)

    def __enter__(self) -> TflmSession:
        self.runtime.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.runtime.close()

    def run(self, job: Job) -> Samples:
        """Time inferences on this host."""
        reply = self.runtime.ask(
            {"do": "time", "n": job.runs, "discard": job.discard, "max_seconds": job.max_seconds}
        )
        method = "TFLM's reference kernels on this host: not the time of a microcontroller"
        return Samples("latency", "ns", method, tuple(reply["ns"]), tuple(reply["discarded_ns"]))

    def facts(self) -> SessionFacts:
        """The arena as TFLM itself recorded it."""
        arena = self.runtime.ask({"do": "allocations"})
        note = (
            f"arena: {arena['head']} bytes of activations, {arena['tail']} of structures"
            " (an upper bound: pointers have 64 bits here)"
        )
        return SessionFacts(
            runtime=f"TensorFlow Lite Micro {self.runtime.version}",
            load_ms=self.runtime.load_ms,
            arena_bytes=arena["total"],
            notes=(note,),
        )

    def predict(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs of the microcontroller's kernels."""
        return self.runtime.predict(inputs)


@dataclass(frozen=True)
class EthosTarget:
    """An Ethos-U as Vela models it.

    Attributes:
        accelerator: Vela's name of its configuration.
        precisions: What it computes in.
    """

    accelerator: str
    timing_valid: bool = False
    estimated: bool = True
    on_this_machine: bool = True
    gives_outputs: bool = False
    takes: frozenset[str] = frozenset()
    suffixes: frozenset[str] = _FILES
    precisions: frozenset[str] = frozenset(("int8", "int16x8"))

    @property
    def name(self) -> str:
        """Its address."""
        return f"mcu:{self.accelerator}"

    @property
    def url(self) -> str:
        """Its address."""
        return self.name

    def environment(self) -> dict[str, Any]:
        """What is modelled."""
        return {"machine": self.accelerator, "processor": f"Arm {self.accelerator} (model)"}

    def open(self, path: Path, options: RunOptions) -> EthosSession:
        """Have Vela compile an artifact."""
        _only_tflite(path, self.name)
        return EthosSession(path, self.accelerator, options.timeout)

    def profile(self, path: Path, options: RunOptions) -> Profile:  # noqa: ARG002
        """Not possible: Vela's summary has none."""
        raise DeviceError(f"'{self.name}' can't tell the time of each operator")

    def close(self) -> None:
        """Nothing to hang up."""


class EthosSession:
    """What Vela says of an artifact."""

    def __init__(self, path: Path, accelerator: str, timeout: float) -> None:
        self.path, self.accelerator, self._timeout = path, accelerator, timeout
        self._summary: dict[str, str] = {}
        self._shares = (0, 0)

    def __enter__(self) -> Session:
        with scratch_folder() as folder:
            said = self._compile(folder)
            (summary,) = folder.glob("*_summary_*.csv")
            with summary.open(newline="") as file:
                self._summary = next(csv.DictReader(file))
        counts = [re.search(rf"{kind} operators = (\d+)", said) for kind in ("NPU", "CPU")]
        npu, cpu = (int(match.group(1)) if match else 0 for match in counts)
        if npu == 0:
            raise DeviceError(
                f"'{self.path.name}' has no operator that {self.accelerator} runs",
                "Ethos-U runs int8 and int16 models: export with --quantize int8",
            )
        self._shares = (npu, cpu)
        return self

    def _compile(self, folder: Path) -> str:
        options = ["--accelerator-config", self.accelerator, "--output-dir", str(folder)]
        command = [sys.executable, "-c", _VELA, str(self.path.absolute()), *options]
        try:
            done = run(command, timeout=self._timeout)
        except Late:
            raise DeviceError(f"Vela took longer than {self._timeout:g} s") from None
        if done.returncode != 0:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no word"]
            raise DeviceError(f"Vela can't compile '{self.path.name}': {last[0]}")
        return done.stdout

    def __exit__(self, *error: object) -> None:
        """Nothing to end: Vela's process is over."""

    def run(self, job: Job) -> Samples:
        """The estimate; it is the same however often it is asked for."""
        clock = float(self._summary["core_clock"]) / 1e6
        nanoseconds = float(self._summary["inference_time"]) * 1e9
        method = f"Vela's performance model of {self.accelerator} at {clock:.0f} MHz"
        return Samples("latency", "ns", method, (nanoseconds,) * job.runs)

    def facts(self) -> SessionFacts:
        """SRAM, flash, cycles and what stays on the CPU."""
        npu, cpu = self._shares
        summary = self._summary
        notes = [
            f"{float(summary['cycles_total']):.0f} cycles, {summary['nn_macs']} MACs,"
            f" {float(summary['off_chip_flash_memory_used']):.1f} KiB of flash"
        ]
        if cpu:
            notes.append(f"{cpu} of {npu + cpu} operators stay on the CPU; their time is not in it")
        return SessionFacts(
            runtime="Vela",
            arena_bytes=round(float(summary["sram_memory_used"]) * 1024),
            notes=tuple(notes),
        )

    def predict(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:  # noqa: ARG002
        """Not possible: nothing is run."""
        raise DeviceError(f"'mcu:{self.accelerator}' is a model of the hardware: it runs nothing")
