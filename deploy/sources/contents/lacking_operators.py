"""Operators of a file that a runtime has no kernel for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from edgepress.compress.errors import InputError
from edgepress.deploy.exporters.c.source import absent_in_micro


def _absent_in_litert(operators: Iterable[str]) -> list[str]:
    """Custom operators and TensorFlow's own kernels: names that the schema doesn't have."""
    return [name for name in operators if not name.isupper()]


def _absent_in_onnxruntime(operators: Iterable[str]) -> list[str]:
    """Operators of domains that others ship; standard ones of the file's opset are all there."""
    return [name for name in operators if "::" in name]


# Runtime → the suffix of its files, and which of some operators it lacks.
RUNTIMES: dict[str, tuple[str, Callable[[Iterable[str]], list[str]]]] = {
    "litert": (".tflite", _absent_in_litert),
    "onnxruntime": (".onnx", _absent_in_onnxruntime),
    "tflm": (".tflite", absent_in_micro),
}


def lacking(
    path: Path, operators: Iterable[str], runtime: str, hybrid: Iterable[str] = ()
) -> tuple[str, ...]:
    """The operators of a file that a runtime lacks, sorted.

    Args:
        path: The file.
        operators: Its operators by name; those of ONNX outside its own domain as "domain::name".
        runtime: A name in `RUNTIMES`.
        hybrid: Those that multiply floats by integer weights, which TensorFlow Lite Micro refuses
            though it has kernels of these names.

    Raises:
        InputError: There is no such runtime, or it runs no files of this kind.
    """
    if runtime not in RUNTIMES:
        raise InputError(f"no runtime '{runtime}' is known", f"give {', '.join(RUNTIMES)}")
    suffix, absent = RUNTIMES[runtime]
    if path.suffix.lower() != suffix:
        fitting = [name for name, (own, _) in RUNTIMES.items() if own == path.suffix.lower()]
        raise InputError(
            f"{runtime} runs {suffix} files, and '{path}' is none",
            f"give {' or '.join(fitting)}" if fitting else f"export to {suffix} first",
        )
    missing = set(absent(sorted(set(operators))))
    if runtime == "tflm":
        missing |= {f"{kind} (floats by integer weights)" for kind in set(hybrid) - missing}
    return tuple(sorted(missing))
