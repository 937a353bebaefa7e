"""Mixed precision: layers go back to floats, the worst first, until int8 keeps its accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from edgepress.benchmarks.number_format import counted, significant
from edgepress.compress.data.metrics import worst_drop
from edgepress.compress.errors import DeviceError
from edgepress.compress.kernel.artifact import Artifact
from edgepress.deploy.exporters import Job
from edgepress.deploy.exporters.layer_marks import has_rules, layer_request
from edgepress.deploy.exporters.onnx.writing import int8_request
from edgepress.deploy.exporters.tflite.writing import graph_for

# How many tensors between layers could stay in floats, and what layers got that were asked for.
Tried: TypeAlias = tuple[int, Mapping[str, str]]


def keep_floor(
    job: Job,
    artifact: Artifact,
    verify: Callable[[Path], Artifact],
    max_drop: float,
) -> tuple[Artifact, list[str]]:
    """Give layers of an int8 TFLite or ONNX file back to floats until it loses no more than it may.

    Args:
        job: What the file was made of.
        artifact: The int8 file; replaced on disk where a mixed one is better.
        verify: Measures a file.
        max_drop: Largest fall of the metric of any output.

    Returns:
        The file that is on disk, not verified where it loses more, and the trade: a line for each
        number of layers tried.
    """
    best, notes = artifact, [_line(artifact, 0)]
    keep, layers, tried = 1, 1, 0
    while _lost(best) > max_drop and tried < layers:
        trial = artifact.path.with_name(f"mixed_{keep}{artifact.path.suffix}")
        try:
            layers, precisions = _WRITERS[artifact.format](job, trial, keep)
        except DeviceError as error:
            notes.append(f"{artifact.path.name}: no mixed precision: {error.message}")
            break
        mixed = verify(trial)
        notes.append(_line(mixed, keep))
        if _lost(mixed) < _lost(best) and _passes(mixed) >= _passes(best):
            trial.replace(artifact.path)
            best = replace(mixed, path=artifact.path, layers=dict(precisions))
        tried, keep = keep, min(2 * keep, layers)
    if _lost(best) > max_drop:
        notes.append(f"{artifact.path.name}: no number of tensors in floats keeps --int8-max-drop")
        best = _missing(best, max_drop)
    return best, notes


def _missing(artifact: Artifact, max_drop: float) -> Artifact:
    """A file that loses more than it may isn't verified, though rounding may explain it."""
    verified = artifact.verified
    if verified is None or not verified.passed:
        return artifact
    worst = max(verified.metrics, key=lambda row: worst_drop([row]), default=None)
    figures = "its metric is unknown"
    if worst is not None and worst.value is not None and worst.source_value is not None:
        of = f" of output '{worst.output}'" if len(verified.metrics) > 1 else ""
        figures = f"{worst.metric}{of} is {worst.value:.4f}, the model has {worst.source_value:.4f}"
    reason = f"{figures}: more than --int8-max-drop {max_drop:g} allows"
    return replace(artifact, verified=replace(verified, passed=False, reason=reason))


def _write_tflite(job: Job, out: Path, keep: int) -> Tried:
    source = graph_for(job, "int8")
    layered = has_rules(job.settings)
    request = {
        "layers": layer_request(source.marks, job.settings, "int8") if layered else None,
        "source": str(source.folder),
        "out": str(out),
        "calibration": str(job.calibration),
        "batch": source.inputs[0].shape[0] or 1,
        "limits": dict(source.limits),
        "method": job.settings.calibration_method or "min-max",
        "keep": keep,
    }
    answer = job.worker.ask("tflite-mixed", request)
    return answer["layers"], answer["precisions"]


def _write_onnx(job: Job, out: Path, keep: int) -> Tried:
    answer = job.worker.ask("onnx-quantize", {**int8_request(job, out), "keep": keep})
    return answer["rounded"], answer["layers"]


_WRITERS: dict[str, Callable[[Job, Path, int], Tried]] = {
    "tflite": _write_tflite,
    "onnx": _write_onnx,
}


def _passes(artifact: Artifact) -> bool:
    return artifact.verified is not None and artifact.verified.passed


def _lost(artifact: Artifact) -> float:
    """How much worse the worst output of a file is than its source."""
    return worst_drop(artifact.verified.metrics if artifact.verified else ())


def _line(artifact: Artifact, keep: int) -> str:
    verified = artifact.verified
    value = verified.value if verified else None
    told = "none" if value is None else significant(value, 4)
    return (
        f"{artifact.format} int8 with {counted(keep, 'tensor')} between layers in floats:"
        f" {artifact.bytes} bytes, value {told}, lost {_lost(artifact):.4f}"
    )
