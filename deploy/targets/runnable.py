"""Which files a device runs at all, known before any is sent to it."""

from __future__ import annotations

from pathlib import Path

from edgepress.benchmarks.target import Target

_ALL = frozenset((".tflite", ".onnx"))


def why_not(target: Target, path: Path, precision: str) -> str:
    """Why a device runs no such file; empty where it does.

    A device says so by `suffixes` (of the files that it has a runtime for), `precisions` (that
    it computes in; all where it doesn't say) and `sends_files` (whether files reach it at all).

    Args:
        target: The device.
        path: The file.
        precision: How it stores numbers, such as "float32" or "int8".
    """
    suffix = path.suffix.lower()
    if suffix not in getattr(target, "suffixes", _ALL):
        return f"{target.name} has no runtime for {suffix} files"
    precisions: frozenset[str] | None = getattr(target, "precisions", None)
    if precisions is not None and precision not in precisions:
        return f"{target.name} runs {' and '.join(sorted(precisions))} alone, not {precision}"
    return ""


def takes_files(target: Target) -> bool:
    """Whether files are sent to a device, rather than built into its program."""
    return bool(getattr(target, "sends_files", True))
