"""The verdict on what a file gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.artifact import Agreement
from edgepress.compress.data.metrics import METRICS, fallen
from edgepress.compress.errors import InputError
from edgepress.compress.figures import OutputMetric, compared
from edgepress.deploy.quantize.precision import Precision
from edgepress.deploy.verification.difference import ROUNDING_LIMIT, bounded_error, largest_output
from edgepress.deploy.verification.source_outputs import SourceOutputs

Outputs = list[NDArray[Any]]
# A file departs from its source by the rounding of both, seen 1.8 times that of one.
_ROUNDINGS = 4


def judge(source: SourceOutputs, got: Outputs, precision: Precision) -> Agreement:
    """The verdict on an artifact's outputs.

    Args:
        source: The source's samples and outputs.
        got: The artifact's outputs, in the source's order and shapes.
        precision: Sets the bounds.

    Raises:
        InputError: The source's outputs are empty.
    """
    if any(w.size == 0 for w in source.outputs):
        raise InputError("the model's output holds no values: there is nothing to compare")
    want = [w.astype(np.float64) for w in source.outputs]
    have = [g.astype(np.float64) for g in got]
    differences = [np.abs(h - w) for h, w in zip(have, want, strict=True)]
    whole = [w.dtype.kind != "f" for w in source.outputs]
    error = max(
        bounded_error(d, w, is_whole, precision)
        for d, w, is_whole in zip(differences, want, whole, strict=True)
    )
    value = None
    finite = all(np.isfinite(h).all() for h in have)
    metrics = source.metrics
    if source.task is not None and finite:
        metrics = compared(source.task.figures(got, source.targets), source.metrics)
        value = source.task.headline_of(metrics)
    tolerance = _tolerance(source, precision, error)
    reason = _reason(source, precision, error, value, tolerance) if finite else _endless(precision)
    reason = reason or _fallen(metrics, precision)
    largest = max(float(d.max(initial=0)) for d in differences)
    return Agreement(
        passed=not reason,
        max_abs_error=_json_safe(largest),
        mean_abs_error=_json_safe(float(np.mean(np.concatenate([d.ravel() for d in differences])))),
        agreement=_agreement(source, have, want, tolerance),
        tolerance=tolerance,
        samples=len(want[0]),
        metric=source.task.metric if source.task else None,
        split=source.split,
        value=value,
        source_value=source.value,
        reason=reason,
        metrics=metrics if value is not None else (),
    )


def _fallen(metrics: Sequence[OutputMetric], precision: Precision) -> str:
    """Why an artifact fails by one of the outputs that the one metric says nothing of."""
    beside = [m for m in metrics if METRICS[m.metric].higher_is_better]
    for row in fallen(beside, precision.max_drop):
        return (
            f"{row.metric} of output '{row.output}' is {row.value:.4f}, the source has"
            f" {row.source_value:.4f}: rounding to {precision.name} explains at most"
            f" {precision.max_drop:g}"
        )
    return ""


def _endless(precision: Precision) -> str:
    why = ": 16-bit floats end at 65,504" if precision.name == "float16" else ""
    return f"its outputs hold NaN or infinity{why}"


def _json_safe(number: float) -> float:
    """NaN and infinity as the largest float: JSON has neither."""
    return number if np.isfinite(number) else float(np.finfo(np.float32).max)


def _tolerance(source: SourceOutputs, precision: Precision, error: float) -> float:
    """The bound on an error: wider where the source's own rounding is what exceeds it."""
    bound = precision.tolerance
    if precision.bounded != "largest" or not bound < error <= ROUNDING_LIMIT:
        return bound
    return min(max(bound, _ROUNDINGS * source.rounding), ROUNDING_LIMIT)


def _reason(
    source: SourceOutputs,
    precision: Precision,
    error: float,
    value: float | None,
    tolerance: float,
) -> str:
    """Why an artifact without NaN fails, empty if it passes."""
    if error > tolerance:
        # Mixing is asked first: the rounding takes a copy of the whole model.
        if source.mixing > ROUNDING_LIMIT and source.mixing > _ROUNDINGS * source.rounding:
            return (
                "the model mixes the samples of a batch: alone a sample gives another output, by"
                f" up to {source.mixing:.3g} of the largest"
            )
        what = "largest difference" if precision.bounded == "largest" else "noise"
        return (
            f"{what} {error:.3g} of the source's outputs, {precision.name} explains at most"
            f" {tolerance:.3g}"
        )
    task = source.task
    if task is None or value is None or source.value is None or not task.higher_is_better:
        return ""
    if task.drop(source.value, value) > precision.max_drop:
        return (
            f"{task.metric} is {value:.4f}, the source has {source.value:.4f}: rounding to"
            f" {precision.name} explains at most {precision.max_drop:g}"
        )
    return ""


def _agreement(source: SourceOutputs, have: Outputs, want: Outputs, tolerance: float) -> float:
    """Share of samples with the same decision, or for values within the tolerance."""
    kind = source.task.kind if source.task else None
    if kind in ("binary", "multi-label"):
        logits = source.task.logits[0] if source.task else False
        threshold = 0.0 if logits else 0.5
        same = (have[0] > threshold) == (want[0] > threshold)
        return float(same.reshape(len(same), -1).all(1).mean())
    if source.outputs[0].dtype.kind != "f":
        return float((have[0] == want[0]).mean())
    classes = want[0].ndim >= 2 and want[0].shape[-1] > 1
    if kind == "classification" or (kind is None and want[0].ndim == 2 and classes):
        return float((have[0].argmax(-1) == want[0].argmax(-1)).mean())
    bound = tolerance * largest_output(want[0])
    worst = np.abs(have[0] - want[0]).reshape(len(want[0]), -1).max(1)
    return float((worst <= bound).mean())
