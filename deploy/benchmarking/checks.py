"""Options of a benchmark that have no effect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgepress.benchmarks.runtimes.runtime import runtime_for
from edgepress.benchmarks.target import Target
from edgepress.compress.errors import InputError
from edgepress.deploy.specs.benchmark import BenchmarkSpec

# What a device takes or doesn't; of them, what is meant for one runtime alone.
_OF_DEVICES = ("threads", "batch", "xnnpack", "delegates", "providers", "cpus", "profile")
_RUNTIME_OF_OPTION = {"xnnpack": "litert", "delegates": "litert", "providers": "onnxruntime"}
_ENDING = {"litert": ".tflite", "onnxruntime": ".onnx"}


def check(spec: BenchmarkSpec, paths: Sequence[Path], targets: Sequence[Target]) -> None:
    """Refuse options that would be without effect.

    Args:
        spec: How the artifacts are run.
        paths: The artifacts.
        targets: The devices.

    Raises:
        InputError: No artifact's runtime knows an option, or a device doesn't honour it.
    """
    fields = BenchmarkSpec.model_fields
    runtimes = {runtime_for(path) for path in paths}
    for name in (n for n in _OF_DEVICES if getattr(spec, n) != fields[n].get_default()):
        runtime = _RUNTIME_OF_OPTION.get(name)
        if runtime is not None and runtime not in runtimes:
            raise InputError(f"{_flag(name)} is for {_ENDING[runtime]} files, and none is given")
        for target in targets:
            if name not in target.takes:
                raise _without_effect(_flag(name), target)
    for target in targets if spec.precision is not None else ():
        if target.estimated:
            raise _without_effect("--precision", target)


def _flag(name: str) -> str:
    return "--no-xnnpack" if name == "xnnpack" else f"--{BenchmarkSpec.flags.get(name, name)}"


def _without_effect(flag: str, target: Target) -> InputError:
    return InputError(
        f"{flag} has no effect on '{target.name}'", "leave it out, or measure that device by itself"
    )
