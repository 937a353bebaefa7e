"""What an output decides, how much of it a file decides alike, and what that costs each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.metrics import metric_of
from edgepress.compress.data.output_task import OutputTask
from edgepress.compress.kernel.artifact import ClassAgreement, ClassDecisions
from edgepress.compress.kernel.figures import OutputMetric
from edgepress.deploy.differences.slices import Slices, cut, spread
from edgepress.deploy.quantize.precision import Precision

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Nested

Array = NDArray[Any]
Kind = Literal["classes", "labels", "numbers", "values"]
# An error of a tenth of the spread is a signal-to-noise ratio of 20 dB.
VALUE_TOLERANCE = 0.1
_CONFIDENCE = 0.95
# Matrices of more classes can't be read.
_FEW = 30
_SHOWN = 50


@dataclass(frozen=True)
class Decision:
    """What one output is for.

    Attributes:
        kind: "classes" where the highest value of the last axis counts, "labels" where each value
            is on one side of a threshold, "numbers" where they are whole, else "values".
        threshold: Of labels.
    """

    kind: Kind
    threshold: float = 0.5


def decision_of(part: OutputTask | None, want: Array) -> Decision:
    """What an output decides: by what it is asked for, else by its values.

    Args:
        part: What it is asked for, or None without data.
        want: What the source gives, (n, …).
    """
    if want.dtype.kind != "f":
        return Decision("numbers")
    if part is None or part.kind == "own":
        return Decision("classes" if _looks_like_classes(want) else "values")
    several = want.ndim > 1 and want.shape[-1] > 1
    if several and (part.kind == "classification" or "categor" in part.loss):
        return Decision("classes")
    if part.kind in ("classification", "binary", "multi-label") or "binary" in part.loss:
        return Decision("labels", 0.0 if part.logits else 0.5)
    return Decision("values")


def _looks_like_classes(want: Array) -> bool:
    """Without data: rows of more than one value, or probabilities that add up to one."""
    if want.ndim < 2 or want.shape[-1] < 2:
        return False
    if want.ndim == 2:
        return True
    return bool((want >= 0).all()) and bool(np.allclose(want.sum(-1), 1, atol=1e-3))


def agreement_of(
    decision: Decision,
    have: Array,
    want: Array,
    slices: tuple[Slices, ...],
    counting: Array | None = None,
) -> tuple[float, str]:
    """Share of decisions, or of values, in which a file agrees; and what counts as agreeing.

    Args:
        decision: What is decided.
        have: (n, …) of the file.
        want: (n, …) of the source.
        slices: Parts with ranges of their own.
        counting: (n, …) which decisions count, as many as there are targets; None for all.
    """
    per_sample = want.ndim <= 2
    if decision.kind == "classes":
        places = "samples" if per_sample else "places of all samples"
        alike: Array = have.argmax(-1) == want.argmax(-1)
        counts = np.ones(alike.shape, bool) if counting is None else counting.reshape(alike.shape)
        return _share(alike[counts]), f"{places} of the same top class"
    if decision.kind == "labels":
        same: Array = np.equal(have > decision.threshold, want > decision.threshold)
        kept = np.ones(same.shape, bool) if counting is None else counting.reshape(same.shape)
        if per_sample:
            rule = f"samples with all values on the same side of {decision.threshold:g}"
            rows = (same | ~kept).reshape(len(same), -1).all(1)
            return _share(rows[kept.reshape(len(kept), -1).any(1)]), rule
        return _share(same[kept]), f"values on the same side of {decision.threshold:g}"
    if decision.kind == "numbers":
        return float((have == want).mean()), "equal whole numbers"
    unit = np.full((1, *want.shape[1:]), spread(want))
    for part in slices:
        index = [slice(None)] * want.ndim
        index[part.axis] = part.places  # type: ignore[call-overload]
        unit[tuple(index)] = spread(cut(want, part))
    own = " or their slice's" if slices else ""
    rule = f"values within {VALUE_TOLERANCE:g} of their output's{own} spread"
    return float((np.abs(have - want) <= VALUE_TOLERANCE * unit).mean()), rule


def _share(alike: Array) -> float:
    """The share that is true; all of nothing."""
    return float(alike.mean()) if alike.size else 1.0


@dataclass(frozen=True)
class Rights:
    """Which decisions of a source and of a file are right.

    Attributes:
        truth: (n, places) class of each, from 0; -1 where it counts for none.
        source: (n, places) whether the source is right.
        file: (n, places) whether the file is right.
        classes: How many classes there are.
    """

    truth: Array
    source: Array
    file: Array
    classes: int

    def loss(self, precision: Precision) -> float:
        """How much of all right decisions a file loses beyond what rounding explains; else 0."""
        counts = self.truth >= 0
        total = int(counts.sum())
        if not total:
            return 0.0
        before, after = self.source[counts], self.file[counts]
        share = int(counts.any(1).sum()) / total
        lost, won = (share * float(x.sum()) for x in (before & ~after, ~before & after))
        drop = float(before.mean() - after.mean())
        low, _ = changed_interval(lost, won, share * total, 1 - _CONFIDENCE)
        return drop if drop > precision.max_drop and low > precision.max_drop / 2 else 0.0


def rights(
    decision: Decision, have: Array, want: Array, targets: Nested, counting: Array | None = None
) -> Rights | None:
    """Compare decisions with targets; None for what decides nothing.

    Args:
        decision: What is decided.
        have: (n, …) of the file.
        want: (n, …) of the source.
        targets: (n, …) of the data.
        counting: (n, …) which targets count; None for all.
    """
    if decision.kind == "classes":
        truth = class_numbers(np.asarray(targets), want)
        truth = truth if counting is None else np.where(counting.reshape(truth.shape), truth, -1)
        n = len(want)
        source, file = (a.argmax(-1) == truth for a in (want, have))
        truth, source, file = (a.reshape(n, -1) for a in (truth, source, file))
        return Rights(truth, source, file, want.shape[-1])
    if decision.kind != "labels":
        return None
    positive = np.asarray(targets).reshape(want.shape) > 0.5
    source, file = ((a > decision.threshold) == positive for a in (want, have))
    columns = want.shape[-1] if want.ndim > 1 else 1
    # One label: both its sides are classes. Several: each is a class where it applies.
    truth = np.where(positive, np.arange(columns), -1) if columns > 1 else positive.astype(np.int64)
    truth = truth if counting is None else np.where(counting.reshape(truth.shape), truth, -1)
    truth, source, file = (a.reshape(len(want), -1) for a in (truth, source, file))
    return Rights(truth, source, file, max(columns, 2))


def class_numbers(targets: Array, want: Array) -> Array:
    """Class numbers from numbers or one-hot rows."""
    if targets.ndim == want.ndim and targets.shape[-1] == want.shape[-1]:
        return targets.argmax(-1)
    return targets.reshape(want.shape[:-1]).astype(np.int64)


def worst_class(
    found: Rights, output: str, names: tuple[str, ...], precision: Precision
) -> ClassAgreement | None:
    """The class whose recall falls most beyond chance.

    Places of one sample are alike, so that they count as one sample between them.

    Args:
        found: The decisions.
        output: Name of the output.
        names: Names of the classes; their numbers where there are none.
        precision: Has the bound.

    Returns:
        The worst class: of those that fail the bound, else of all, the one that lost most.
    """
    tail = (1 - _CONFIDENCE) / found.classes
    rows = []
    for number in range(found.classes):
        mine = found.truth == number
        total = int(mine.sum())
        if not total:
            continue
        before, after = found.source[mine], found.file[mine]
        share = int(mine.any(1).sum()) / total
        lost, won = (share * float(x.sum()) for x in (before & ~after, ~before & after))
        low, high = changed_interval(lost, won, share * total, tail)
        drop = float(before.mean() - after.mean())
        name = names[number] if number < len(names) else str(number)
        fails = drop > precision.max_drop and low > precision.max_drop / 2
        rows.append(
            ClassAgreement(
                output, name, total, float(before.mean()), float(after.mean()), drop, low, high,
                not fails,
            )
        )  # fmt: skip
    return max(rows, key=lambda row: (not row.passed, row.drop), default=None)


def is_share(row: OutputMetric) -> bool:
    """Whether a figure is a share, so that a fall of it means the same whatever it is of."""
    if not metric_of(row.metric).own:
        return row.metric != "psnr"
    return row.source_value is not None and 0 <= row.source_value <= 1


def changed_interval(lost: float, won: float, total: float, tail: float) -> tuple[float, float]:
    """Interval of the fall of a share, from paired decisions.

    Of the decisions that changed, the share of losses is binomial (McNemar's exact test); its
    Clopper-Pearson ends give those of the fall. A few samples can't show a fall: of five lost of
    five nothing is shown at 1 %.

    Args:
        lost: Right before and wrong after.
        won: Wrong before and right after.
        total: All decisions.
        tail: Probability beyond each end.

    Returns:
        The ends of the fall, as shares of all.

    >>> changed_interval(0, 0, 9, 0.01)
    (0.0, 0.0)
    """
    from scipy.stats import beta

    changed = lost + won
    if not changed:
        return 0.0, 0.0
    low = float(beta.ppf(tail, lost, won + 1)) if lost else 0.0
    high = float(beta.ppf(1 - tail, lost + 1, won)) if won else 1.0
    return tuple(changed / total * (2 * share - 1) for share in (low, high))  # type: ignore[return-value]


def decides_few_classes(decision: Decision, want: Array) -> bool:
    """Whether an output takes each sample for one of a few classes."""
    return decision.kind == "classes" and want.ndim == 2 and want.shape[1] <= _FEW


def class_decisions(
    output: str,
    names: tuple[str, ...],
    have: Array,
    want: Array,
    targets: Array,
    counting: Array | None = None,
) -> ClassDecisions:
    """The decisions of a source and a file, beside the true classes.

    Args:
        output: Name of the output.
        names: Names of the classes; their numbers where there are none.
        have: (n, classes) what the file gives.
        want: (n, classes) what the source gives.
        targets: (n,), (n, 1) or (n, classes) the true classes; samples of no class don't count.
        counting: (n,) or (n, 1) which samples count; None for all.
    """
    count = want.shape[1]
    truth = class_numbers(np.asarray(targets), want)
    source, file = want.argmax(1), have.argmax(1)
    known = (truth >= 0) & (truth < count)
    known = known if counting is None else known & counting.reshape(truth.shape)
    changed = np.flatnonzero(known & (source != file))[:_SHOWN]
    return ClassDecisions(
        output,
        tuple(names[i] if i < len(names) else str(i) for i in range(count)),
        _matrix(truth[known], source[known], count),
        _matrix(truth[known], file[known], count),
        tuple((int(i), int(truth[i]), int(source[i]), int(file[i])) for i in changed),
    )


def _matrix(truth: Array, decided: Array, count: int) -> tuple[tuple[int, ...], ...]:
    found = np.bincount(truth * count + decided, minlength=count * count)
    return tuple(map(tuple, found.reshape(count, count).tolist()))


def class_loss(worst: ClassAgreement | None, precision: Precision) -> str:
    """Why the worst class loses too much; empty if it doesn't."""
    if worst is None or worst.passed:
        return ""
    return (
        f"class '{worst.name}' of output '{worst.output}' loses {worst.drop:.3f} of its recall"
        f" ({worst.source_recall:.3f} to {worst.recall:.3f} of {worst.samples:,}; 95 % interval"
        f" {worst.low:.3f} to {worst.high:.3f}): rounding to {precision.name} explains at most"
        f" {precision.max_drop:g}"
    )
