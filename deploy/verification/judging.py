"""The verdict on what a file gives: every output, its slices of other ranges, its classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.gate.resampling import resampled
from edgepress.compress.data.metrics import fallen, metric_of
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.artifact import (
    Agreement,
    ClassAgreement,
    ClassDecisions,
    OutputAgreement,
)
from edgepress.compress.kernel.figures import OutputMetric, compared
from edgepress.deploy.differences.difference import ROUNDING_LIMIT, bounded_error, noise
from edgepress.deploy.differences.growth import error_holds, grown_error
from edgepress.deploy.differences.slices import (
    Slices,
    cut,
    merged,
    spread,
)
from edgepress.deploy.quantize.precision import Precision
from edgepress.deploy.verification.decisions import (
    agreement_of,
    class_decisions,
    class_loss,
    decides_few_classes,
    is_share,
    rights,
    worst_class,
)
from edgepress.deploy.verification.evidence import doubts, lost_values
from edgepress.deploy.verification.source_outputs import (
    PairedOutput,
    SourceOutputs,
    paired_outputs,
    scored_outputs,
)

Array = NDArray[Any]
Outputs = list[Array]
Targets = Array | None
# A file differs from its source by the rounding of both, seen 1.8 times that of one.
_ROUNDINGS = 4
# A channel that spreads over less than this share of what the output spreads over is compared with
# that share: that it is noisier than it is large may be the rounding of what it was made of.
_LEAST_OF_WHOLE = 0.5
# Metrics that are means over samples.
_MEANS = ("accuracy", "binary_accuracy", "top5_accuracy")
# Bootstrap draws, and the end of the one-sided 95 % interval of a fall.
_DRAWS, _TAIL = 200, 0.05
_WORDS = {"largest": "largest difference", "noise": "noise"}


@dataclass(frozen=True)
class _Part:
    """An output, or slices of it, with their error and the bound on it."""

    error: float
    tolerance: float
    slices: Slices | None = None

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance


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
    outputs = paired_outputs(source, got)
    differences = [np.abs(o.have - o.want) for o in outputs]
    value = None
    finite = all(np.isfinite(o.have).all() for o in outputs)
    metrics = source.metrics
    if source.task is not None and finite:
        metrics = compared(source.task.figures(got, source.targets), source.metrics)
        value = source.task.headline_of(metrics)
    scored = list(scored_outputs(source, outputs))
    known = {o.name: target for o, part, target in scored if part.void is None}
    counting = {o.name: part.counting(target) for o, part, target in scored}
    parts = [
        _parts(o, d, source, precision, known.get(o.name))
        for o, d in zip(outputs, differences, strict=True)
    ]
    rows = tuple(
        _row(o, p, precision, counting.get(o.name)) for o, p in zip(outputs, parts, strict=True)
    )
    worst = _worst_class(source, outputs, precision) if finite else None
    lost = lost_values(outputs, known, precision) if finite else None
    reason = (
        _departure(source, precision, rows)
        or _fallen(source, got, metrics, precision)
        or _loss_of_output(source, outputs, precision)
        or class_loss(worst, precision)
        or _growth(source, outputs, precision)
        or (lost.reason if lost else "")
        if finite
        else _endless(source, precision)
    )
    largest = max(float(d.max(initial=0)) for d in differences)
    return Agreement(
        passed=not reason,
        max_abs_error=_json_safe(largest),
        mean_abs_error=_json_safe(float(np.mean(np.concatenate([d.ravel() for d in differences])))),
        agreement=min(row.agreement for row in rows),
        tolerance=max(p[0].tolerance for p in parts),
        samples=len(outputs[0].want),
        metric=source.task.metric if source.task else None,
        split=source.split,
        value=value,
        source_value=source.value,
        reason=reason,
        metrics=metrics if value is not None else (),
        outputs=tuple(
            replace(r, passed=False, slices=lost.slices)
            if lost and r.passed and r.name == lost.output
            else r
            for r in rows
        ),
        worst_class=worst,
        decisions=tuple(_decisions(source, outputs)) if finite else (),
        doubts=tuple(doubts(outputs)) if finite else (),
    )


def _parts(
    output: PairedOutput,
    difference: Array,
    source: SourceOutputs,
    precision: Precision,
    truth: Targets,
) -> list[_Part]:
    """The output, its slices with ranges of their own and, where noise is bounded, its channels."""
    error = bounded_error(difference, output.want, output.whole, precision)
    found = [_Part(error, _tolerance(source, precision, error))]
    for slices in output.slices:
        error = bounded_error(cut(difference, slices), cut(output.want, slices), False, precision)
        part = _Part(error, _tolerance(source, precision, error), slices)
        harmless = _is_harmless(output, part, precision, truth)
        bound = precision.channel_tolerance if harmless else part.tolerance
        found.append(replace(part, tolerance=bound))
    if precision.bounded == "noise" and not output.whole and output.want.ndim > 1:
        small = {i for s in output.slices if s.last for i in s.places}
        least = _LEAST_OF_WHOLE * spread(output.want)
        width = output.want.shape[-1]
        for place in (n for n in range(width) if n not in small and width > 1):
            one = Slices(output.want.ndim - 1, (place,), True)
            error = noise(cut(difference, one), cut(output.want, one), least)
            found.append(_Part(error, precision.channel_tolerance, one))
    return found


def _is_harmless(output: PairedOutput, part: _Part, precision: Precision, targets: Targets) -> bool:
    """Whether slices are noisier than the whole may be, but no further from their targets.

    So are pixels that are nearly always 0, which a network gives with an error of its own that
    their rounding is lost in.
    """
    noisy = part.tolerance < part.error <= precision.channel_tolerance
    if precision.bounded != "noise" or part.slices is None or not noisy:
        return False
    truth = np.asarray([] if targets is None else targets)
    if truth.size != output.want.size or truth.dtype.kind not in "fiub":
        return False
    truth = truth.reshape(output.want.shape)
    have, want = cut(output.have, part.slices), cut(output.want, part.slices)
    return error_holds(have, want, cut(truth, part.slices), precision)


def _row(
    output: PairedOutput, parts: list[_Part], precision: Precision, counting: Array | None
) -> OutputAgreement:
    failed = [p for p in parts if not p.passed]
    named = [
        p for p in failed if p.slices and len(_places(failed, p.slices.axis)) < _size(output, p)
    ]
    # What fails most is told; where nothing fails, what comes nearest to its bound.
    worst = max(named or failed[:1] or parts, key=lambda p: p.error / p.tolerance)
    finite = np.isfinite(output.have).all()
    agreement, definition = agreement_of(
        output.decision, np.nan_to_num(output.have), output.want, output.slices, counting
    )
    return OutputAgreement(
        name=output.name,
        passed=not failed and bool(finite),
        slices=merged([p.slices for p in named if p.slices]),
        bounded=_WORDS[precision.bounded],
        error=_json_safe(worst.error),
        tolerance=worst.tolerance,
        agreement=agreement,
        definition=definition,
    )


def _places(parts: list[_Part], axis: int) -> set[int]:
    return {i for p in parts if p.slices and p.slices.axis == axis for i in p.slices.places}


def _size(output: PairedOutput, part: _Part) -> int:
    return output.want.shape[part.slices.axis] if part.slices else 0


def _endless(source: SourceOutputs, precision: Precision) -> str:
    if not all(np.isfinite(want).all() for want in source.outputs):
        return "the model's own outputs hold NaN or infinity: there is nothing to compare with"
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


def _departure(
    source: SourceOutputs, precision: Precision, rows: tuple[OutputAgreement, ...]
) -> str:
    """Why outputs differ from the source's by more than rounding explains; empty if they don't."""
    failed = [row for row in rows if not row.passed]
    if not failed:
        return ""
    # Mixing is asked first: the rounding takes a copy of the whole model.
    if source.mixing > ROUNDING_LIMIT and source.mixing > _ROUNDINGS * source.rounding:
        return (
            "the model mixes the samples of a batch: alone a sample gives another output, by"
            f" up to {source.mixing:.3g} of the largest"
        )
    reasons = []
    for row in failed:
        where = f" {' and '.join(row.slices)}" if row.slices else ""
        place = f"output '{row.name}'{where}: " if where or len(rows) > 1 else ""
        of = "their" if where else "the source's outputs"
        unit = " spread" if row.bounded == "noise" else " largest value"
        reasons.append(
            f"{place}{row.bounded} {row.error:.3g} of {of}{unit if where else ''},"
            f" {precision.name} explains at most {row.tolerance:.3g}"
        )
    return "; ".join(reasons)


def _fallen(
    source: SourceOutputs, got: Outputs, metrics: Sequence[OutputMetric], precision: Precision
) -> str:
    """Why the score of an output is too low; empty if none is."""
    # In decibels and in units of the user's a share means nothing: the error is bounded.
    scores = [m for m in metrics if metric_of(m.metric).higher_is_better and is_share(m)]
    for row in fallen(scores, precision.max_drop):
        if not _is_shown(source, got, row, precision):
            continue
        of = f" of output '{row.output}'" if len(metrics) > 1 else ""
        return (
            f"{row.metric}{of} is {row.value:.4f}, the source has {row.source_value:.4f}: rounding"
            f" to {precision.name} explains at most {precision.max_drop:g}"
        )
    return ""


def _is_shown(source: SourceOutputs, got: Outputs, row: OutputMetric, precision: Precision) -> bool:
    """Whether samples show a fall: one of few samples of a class may cost F1 or AUC much.

    Of a mean over samples a fall counts as it is.
    """
    if row.metric in _MEANS or source.task is None:
        return True
    names = source.task.output_names
    place = names.index(row.output)
    part, truth = source.task.outputs[place], source.task.target_list(source.targets)[place]
    before, after = (
        resampled(part.scorer(given, truth), len(given), _DRAWS)
        for a in (source.outputs, got)
        for given in [source.task.by_metric(list(a))[place]]
    )
    both = min(len(before), len(after))
    drops = before[:both] - after[:both]
    known = drops[np.isfinite(drops)]
    return not known.size or bool(np.quantile(known, _TAIL) > precision.max_drop / 2)


def _loss_of_output(
    source: SourceOutputs, outputs: list[PairedOutput], precision: Precision
) -> str:
    """Why one of several outputs decides too often wrongly; empty if none does."""
    if len(outputs) < 2:
        return ""
    for output, part, target in scored_outputs(source, outputs):
        found = rights(output.decision, output.have, output.want, target, part.counting(target))
        loss = found.loss(precision) if found is not None else 0.0
        if loss:
            return (
                f"output '{output.name}' loses {loss:.3f} of its right decisions: rounding"
                f" to {precision.name} explains at most {precision.max_drop:g}"
            )
    return ""


def _worst_class(
    source: SourceOutputs, outputs: list[PairedOutput], precision: Precision
) -> ClassAgreement | None:
    rows = []
    for output, part, target in scored_outputs(source, outputs):
        found = rights(output.decision, output.have, output.want, target, part.counting(target))
        if found is not None:
            rows.append(worst_class(found, output.name, source.class_names, precision))
    return max(
        (row for row in rows if row), key=lambda row: (not row.passed, row.drop), default=None
    )


def _decisions(source: SourceOutputs, outputs: list[PairedOutput]) -> Iterator[ClassDecisions]:
    for o, part, target in scored_outputs(source, outputs):
        if decides_few_classes(o.decision, o.want):
            kept = part.counting(target)
            yield class_decisions(o.name, source.class_names, o.have, o.want, target, kept)


def _growth(source: SourceOutputs, outputs: list[PairedOutput], precision: Precision) -> str:
    """Why the error of an output's values grows too much; empty if it doesn't."""
    for output, part, target in scored_outputs(source, outputs):
        # A score of values has its own bound.
        if output.decision.kind != "values" or part.metric == "r2":
            continue
        growth = grown_error(output.name, output.have, output.want, target, part.metric, precision)
        if growth:
            return growth
    return ""
