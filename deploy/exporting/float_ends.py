"""Outputs of several ranges in int8: where slices are lost, the end stays in floats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import EdgepressError
from edgepress.compress.kernel.artifact import Agreement, Artifact
from edgepress.deploy.differences.slices import shares_unit, small_slices
from edgepress.deploy.exporters import Job
from edgepress.deploy.exporters.exporter import Written
from edgepress.deploy.quantize.equalization import watched

if TYPE_CHECKING:
    import keras

# Files that can keep their end in floats.
_FILES = frozenset({("tflite", "int8"), ("onnx", "int8"), ("c", "int8")})
# Precisions with one scale for all values of an activation.
JOINED = frozenset({"int8", "int16x8"})
_DEPTHS = (1, 2)


def loses_slices(agreement: Agreement | None) -> bool:
    """Whether a file failed because slices of an output were lost."""
    return agreement is not None and any(row.slices for row in agreement.outputs if not row.passed)


def outputs_to_keep(model: keras.Model, samples: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    """Outputs of a model that would lose slices with one int8 scale for all their values.

    Args:
        model: A Keras model.
        samples: Inputs by name, each (n, …).

    Returns:
        Names of the operations that make them.
    """
    ordered = [samples[tensor.name] for tensor in model.inputs]
    parts: list[list[NDArray[Any]]] = [[] for _ in model.outputs]
    for chunk in watched(model, model.outputs, ordered):
        for values, given in zip(parts, chunk, strict=True):
            values.append(given)
    kept = (
        tensor._keras_history.operation.name
        for tensor, values in zip(model.outputs, parts, strict=True)
        if not shares_unit(tensor) and small_slices(np.concatenate(values).astype(np.float64))
    )
    return tuple(dict.fromkeys(kept))


def with_float_end(
    job: Job,
    artifact: Artifact,
    write: Callable[[Job], Written],
    verify: Callable[[Written], Artifact],
) -> tuple[Artifact, Written | None]:
    """Write an int8 file again with its end in floats, where that brings its slices back.

    Args:
        job: What the file was made of.
        artifact: The file, which lost slices.
        write: Writes the file that a job gives.
        verify: Measures what was written.

    Returns:
        The file that is right and how it was written; without one, the file as it was, whose reason
        says the way on, and None.
    """
    why = _cannot(job, artifact)
    if not why:
        for depth in _DEPTHS:
            try:
                written = write(replace(job, float_tail=depth))
                repaired = verify(written)
            except EdgepressError as error:
                why = error.message
                continue
            if repaired.verified is not None and repaired.verified.passed:
                return repaired, written
            why = repaired.verified.reason if repaired.verified else ""
    return _advised(artifact, why), None


def _cannot(job: Job, artifact: Artifact) -> str:
    """Why the end of a file can't stay in floats; empty where it may."""
    if (artifact.format, artifact.quantize) not in _FILES:
        return f"{artifact.quantize} {artifact.format} files can't keep their end in floats"
    if job.settings.io != "float":
        return f"an output in {job.settings.io} has one scale for all its values: pass --io float"
    if job.carries_ranges:
        return "a model trained for int8 brings its ranges along"
    return ""


def _advised(artifact: Artifact, why: str) -> Artifact:
    agreement = artifact.verified
    assert agreement is not None
    advice = (
        f"{agreement.reason}; its end can't stay in floats ({why}): give parts of"
        " different ranges separate outputs in the model, or scale all to one range"
    )
    return replace(artifact, verified=replace(agreement, reason=advice))
