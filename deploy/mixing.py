"""Mixed precision: layers go back to floats, the worst first, until int8 keeps its accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepress.compress.artifact import Artifact
from edgepress.compress.errors import DeviceError
from edgepress.deploy.exporters import Job
from edgepress.deploy.exporters.tflite import graph_for


def keep_floor(
    job: Job,
    artifact: Artifact,
    verify: Callable[[Path], Artifact],
    drop: Callable[[float, float], float],
    max_drop: float,
) -> tuple[Artifact, list[str]]:
    """Give layers of an int8 TFLite file back to floats until it loses no more than it may.

    Args:
        job: What the file was made of.
        artifact: The int8 file; replaced on disk where a mixed one is better.
        verify: Measures a file.
        drop: How much worse a second value of the metric is than a first.
        max_drop: Largest fall of the metric.

    Returns:
        The file that is on disk, and the trade: a line for each number of layers tried.
    """
    best, notes = artifact, [_line(artifact, 0, drop)]
    keep, layers, tried = 1, 1, 0
    while _lost(best, drop) > max_drop and tried < layers:
        trial = artifact.path.with_name(f"mixed_{keep}.tflite")
        try:
            answer = job.worker.ask("tflite-mixed", _request(job, trial, keep))
        except DeviceError as error:
            notes.append(f"{artifact.path.name}: no mixed precision: {error.message}")
            break
        mixed, layers = verify(trial), answer["layers"]
        notes.append(_line(mixed, keep, drop))
        if _lost(mixed, drop) < _lost(best, drop) and _passes(mixed) >= _passes(best):
            trial.replace(artifact.path)
            best = replace(mixed, path=artifact.path)
        tried, keep = keep, min(2 * keep, layers)
    if _lost(best, drop) > max_drop:
        notes.append(f"{artifact.path.name}: no number of layers in floats keeps --int8-max-drop")
    return best, notes


def _request(job: Job, out: Path, keep: int) -> dict[str, Any]:
    source = graph_for(job, "int8")
    return {
        "source": str(source.folder),
        "out": str(out),
        "calibration": str(job.calibration),
        "batch": source.inputs[0].shape[0] or 1,
        "method": job.settings.calibration_method or "min-max",
        "keep": keep,
    }


def _passes(artifact: Artifact) -> bool:
    return artifact.verified is not None and artifact.verified.passed


def _lost(artifact: Artifact, drop: Callable[[float, float], float]) -> float:
    verified = artifact.verified
    if verified is None or verified.value is None or verified.source_value is None:
        return float("inf")
    return drop(verified.source_value, verified.value)


def _line(artifact: Artifact, keep: int, drop: Callable[[float, float], float]) -> str:
    verified = artifact.verified
    value = verified.value if verified else None
    return (
        f"int8 with {keep} layers' outputs in floats: {artifact.bytes} bytes, value {value},"
        f" lost {_lost(artifact, drop):.4f}"
    )
