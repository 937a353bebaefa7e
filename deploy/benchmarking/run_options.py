"""How artifacts are run, from what people write: cores, delegates, execution providers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

from edgepress.benchmarks.runtimes.runtime import runtime_for
from edgepress.benchmarks.target import RunOptions, Target
from edgepress.compress.errors import InputError

# What is meant for one runtime alone.
_RUNTIME_OF_OPTION = {"xnnpack": "litert", "delegates": "litert", "providers": "onnxruntime"}
_ENDING = {"litert": ".tflite", "onnxruntime": ".onnx"}
_FLAGS = {
    "threads": "--threads",
    "batch": "--batch",
    "xnnpack": "--no-xnnpack",
    "delegates": "--delegate",
    "providers": "--provider",
    "cpus": "--cpus",
    "profile": "--profile",
}


def read_delegate(text: str) -> tuple[str, dict[str, str]]:
    """Read `libfoo.so,key=value,…` as a library and its options.

    Raises:
        InputError: An option has no value, or the library has no name.
    """
    library, *words = (word.strip() for word in text.split(","))
    pairs = [word.partition("=") for word in words]
    if not library or not all(key and equals for key, equals, _ in pairs):
        raise InputError(
            f"'{text}' is not a delegate", "the form is /path/to/libfoo.so[,key=value…]"
        )
    return library, {key: value for key, _, value in pairs}


def run_options(
    xnnpack: bool = True,
    delegates: Sequence[str] = (),
    providers: Sequence[str] = (),
    cpus: Sequence[int] = (),
    timeout: float = 300.0,
) -> RunOptions:
    """The options of a run beside threads and batch.

    Raises:
        InputError: One is malformed.
    """
    if any(cpu < 0 for cpu in cpus):
        raise InputError("cores are numbered from 0")
    return RunOptions(
        xnnpack=xnnpack,
        delegates=tuple(read_delegate(text) for text in delegates),
        providers=tuple(providers),
        cpus=tuple(cpus),
        timeout=timeout,
    )


def check_options(
    options: Iterable[RunOptions],
    paths: Sequence[Path],
    targets: Sequence[Target],
    profile: bool = False,
    precision: bool = False,
) -> None:
    """Refuse options that would be without effect.

    Args:
        options: Of all runs.
        paths: The artifacts.
        targets: The devices.
        profile: Whether the time of each operator is asked for.
        precision: Whether a precision is asked for.

    Raises:
        InputError: No artifact's runtime knows an option, or a device doesn't honour it.
    """
    given = {name for one in options for name in _changed(one)} | (
        {"profile"} if profile else set()
    )
    runtimes = {runtime_for(path) for path in paths}
    for name in (n for n in _FLAGS if n in given):
        runtime = _RUNTIME_OF_OPTION.get(name)
        if runtime is not None and runtime not in runtimes:
            raise InputError(f"{_FLAGS[name]} is for {_ENDING[runtime]} files, and none is given")
        for target in targets:
            if name not in target.takes:
                raise _without_effect(_FLAGS[name], target)
    for target in targets if precision else ():
        if target.estimated:
            raise _without_effect("--precision", target)


def _without_effect(flag: str, target: Target) -> InputError:
    return InputError(
        f"{flag} has no effect on '{target.name}'", "leave it out, or measure that device by itself"
    )


def _changed(options: RunOptions) -> list[str]:
    """Options that differ from the defaults."""
    default = RunOptions()
    return [f.name for f in fields(options) if getattr(options, f.name) != getattr(default, f.name)]
