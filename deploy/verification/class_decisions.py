"""Which class each sample is taken for, by a source and by a file, and what classes lose."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.kernel.artifact import ClassAgreement, ClassDecisions
from edgepress.deploy.quantize.precision import Precision
from edgepress.deploy.verification.decisions import Decision, class_numbers

Array = NDArray[Any]
# Matrices of more classes can't be read.
_FEW = 30
_SHOWN = 50


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
