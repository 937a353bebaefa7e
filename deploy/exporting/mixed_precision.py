"""Mixed precision: layers go back to floats, the worst first, until int8 keeps its accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepress.compress.data.metrics import worst_drop
from edgepress.compress.errors import DeviceError
from edgepress.compress.kernel.artifact import Artifact
from edgepress.deploy.exporters import Job
from edgepress.deploy.exporters.layer_marks import has_rules, layer_request
from edgepress.deploy.exporters.tflite.writing import graph_for


def keep_floor(
    job: Job,
    artifact: Artifact,
    verify: Callable[[Path], Artifact],
    max_drop: float,
) -> tuple[Artifact, list[str]]:
    """Give layers of an int8 TFLite file back to floats until it loses no more than it may.

    Args:
        job: What the file was made of.
        artifact: The int8 file; replaced on disk where a mixed one is better.
        verify: Measures a file.
        max_drop: Largest fall of the metric of any output.

    Returns:
        The file that is on disk, and the trade: a line for each number of layers tried.
    """
    best, notes = artifact, [_line(artifact, 0)]
    keep, layers, tried = 1, 1, 0
    while _lost(best) > max_drop and tried < layers:
        trial = artifact.path.with_name(f"mixed_{keep}.tflite")
        try:
            answer = job.worker.ask("tflite-mixed", _request(job, trial, keep))
        except DeviceError as error:
            notes.append(f"{artifact.path.name}: no mixed precision: {error.message}")
            break
        mixed, layers = verify(trial), answer["layers"]
        notes.append(_line(mixed, keep))
        if _lost(mixed) < _lost(best) and _passes(mixed) >= _passes(best):
            trial.replace(artifact.path)
            best = replace(mixed, path=artifact.path, layers=answer["precisions"])
        tried, keep = keep, min(2 * keep, layers)
    if _lost(best) > max_drop:
        notes.append(f"{artifact.path.name}: no number of tensors in floats keeps --int8-max-drop")
    return best, notes


def _request(job: Job, out: Path, keep: int) -> dict[str, Any]:
    source = graph_for(job, "int8")
    layered = has_rules(job.settings)
    return {
        "layers": layer_request(source.marks, job.settings, "int8") if layered else None,
        "source": str(source.folder),
        "out": str(out),
        "calibration": str(job.calibration),
        "batch": source.inputs[0].shape[0] or 1,
        "limits": dict(source.limits),
        "method": job.settings.calibration_method or "min-max",
        "keep": keep,
    }


def _passes(artifact: Artifact) -> bool:
    return artifact.verified is not None and artifact.verified.passed


def _lost(artifact: Artifact) -> float:
    """How much worse the worst output of a file is than its source."""
    return worst_drop(artifact.verified.metrics if artifact.verified else ())


def _line(artifact: Artifact, keep: int) -> str:
    verified = artifact.verified
    value = verified.value if verified else None
    return (
        f"int8 with {keep} tensors between layers in floats: {artifact.bytes} bytes, value {value},"
        f" lost {_lost(artifact):.4f}"
    )
