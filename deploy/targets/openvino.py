"""OpenVINO on this machine, which reads `.tflite` and `.onnx` files.

`openvino` computes in float32; `openvino?precision=bf16` (or `f16`) in a narrower type, where the
processor has it, and `openvino?device=GPU` (or `NPU`) elsewhere than on the CPU. OpenVINO's own
choice of a type differs from machine to machine, so none is left to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgepress.benchmarks.measurement import SessionFacts
from edgepress.benchmarks.operator_costs import Profile
from edgepress.benchmarks.runtimes.host_info import read_environment
from edgepress.benchmarks.runtimes.openvino_runtime import openvino_runtime
from edgepress.benchmarks.session import RuntimeSession
from edgepress.benchmarks.target import RunOptions, Target
from edgepress.compress.errors import DeviceError, InputError
from edgepress.compress.kernel.registry import near_names
from edgepress.deploy.targets.addresses import split_options

_FILES = frozenset((".tflite", ".onnx"))
_PRECISIONS = ("f32", "bf16", "f16")
_DEVICES = ("CPU", "GPU", "NPU")


def openvino_target(url: str) -> Target:
    """The target for the address `openvino`, with its options.

    Raises:
        InputError: An option is unknown, or the package is missing.
    """
    bare, options = split_options(url, ("precision", "device"))
    if bare != "openvino":
        raise InputError(f"'{url}' is not a device", "it is called just 'openvino'")
    precision = _one_of(options.get("precision", _PRECISIONS[0]), _PRECISIONS, url)
    device = _one_of(options.get("device", _DEVICES[0]), _DEVICES, url)
    if find_spec("openvino") is None:
        raise InputError(f"'{url}' needs the package openvino", "pip install 'edgepress[openvino]'")
    return OpenVinoTarget(url, precision, device)


def _one_of(value: str, known: tuple[str, ...], url: str) -> str:
    if value not in known:
        hint = near_names(value, known) or f"it may be {', '.join(known)}"
        raise InputError(f"'{value}' in '{url}' is not known", hint)
    return value


@dataclass(frozen=True)
class OpenVinoTarget:
    """OpenVINO on this machine; every artifact runs in a child process of its own.

    Attributes:
        url: Its address.
        precision: The type that kernels compute in, as OpenVINO calls it.
        device: Where, as OpenVINO calls it.
        timing_valid: Yes.
        estimated: No.
        on_this_machine: Yes.
        gives_outputs: Yes.
        takes: The options that it honours.
        suffixes: The files that it reads.
    """

    url: str
    precision: str
    device: str
    timing_valid: bool = True
    estimated: bool = False
    on_this_machine: bool = True
    gives_outputs: bool = True
    takes: frozenset[str] = frozenset(("threads", "batch", "cpus"))
    suffixes: frozenset[str] = _FILES

    @property
    def name(self) -> str:
        """Its address."""
        return self.url

    def environment(self) -> dict[str, Any]:
        """The machine and its present state."""
        return read_environment()

    def open(self, path: Path, options: RunOptions) -> OpenVinoSession:
        """Load an artifact in a new child process."""
        if path.suffix.lower() not in _FILES:
            raise DeviceError(
                f"'{path.name}' can't run on '{self.name}'", "give a .tflite or .onnx file"
            )
        return OpenVinoSession(path, self, options)

    def profile(self, path: Path, options: RunOptions) -> Profile:  # noqa: ARG002
        """Not possible: its kernels stand for several operators each."""
        raise DeviceError(f"'{self.name}' can't tell the time of each operator")

    def close(self) -> None:
        """Nothing to hang up."""


class OpenVinoSession(RuntimeSession):
    """An artifact in OpenVINO."""

    method = "wall clock around InferRequest.infer, inputs set before"

    def __init__(self, path: Path, target: OpenVinoTarget, options: RunOptions) -> None:
        runtime = openvino_runtime(
            path,
            options.threads,
            precision=target.precision,
            device=target.device,
            timeout=options.timeout,
            batch=options.batch,
            cpus=options.cpus,
        )
        super().__init__(path, options, runtime=runtime)
        self.target = target

    def facts(self) -> SessionFacts:
        """Load time, memory, and in which types its kernels compute."""
        memory, description = self.runtime.memory(), self.runtime.describe()
        kernels = self.runtime.ask({"do": "kernels"})
        counted = ", ".join(f"{count} in {kind}" for kind, count in kernels.items() if kind != "ok")
        return SessionFacts(
            runtime=f"OpenVINO {self.runtime.version} ({self.target.precision})",
            load_ms=self.runtime.load_ms,
            peak_memory_bytes=memory["peak_bytes"] - memory["baseline_peak_bytes"],
            resident_bytes=memory["resident_bytes"],
            providers=tuple(description["providers"]),
            cpus=tuple(description["cpus"]),
            notes=(f"precision hint {self.target.precision}; kernels: {counted}",),
        )
