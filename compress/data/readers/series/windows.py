"""Windows of recordings, and what each is labelled by."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError

Array = NDArray[Any]
Rule = Literal["majority", "last", "mean", "each"]
_NO_LABEL = -1


def window_starts(runs: Array, window: int, step: int) -> Array:
    """First rows of all windows; none reaches over the end of a run.

    Args:
        runs: (runs, 2) first row, and the one behind the last.
        window: Rows in a window.
        step: Rows from one to the next.

    Returns:
        (windows,) rows.
    """
    parts = [np.arange(first, stop - window + 1, step) for first, stop in runs]
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)


def windows_of(values: Array, starts: Array, window: int) -> Array:
    """(windows, window, …) rows of each window."""
    return values[starts[:, None] + np.arange(window)[None]]


def window_labels(labels: Array, starts: Array, window: int, rule: Rule) -> Array:
    """What each window is labelled by.

    Args:
        labels: (rows,) class numbers, -1 for none; or values.
        starts: (windows,) first rows.
        window: Rows in a window.
        rule: `majority` (of equal ones the lower number), `last`, `mean`, or `each` row by itself.

    Returns:
        (windows,) labels, -1 where a window has none; of `each` (windows, window).
    """
    inside = windows_of(labels, starts, window)
    if rule == "each":
        return inside
    if rule == "last":
        return inside[:, -1]
    if rule == "mean":
        return inside.mean(1)
    classes = int(labels.max(initial=0)) + 2
    counts = np.zeros((len(starts), classes), np.int64)
    np.add.at(counts, (np.arange(len(starts))[:, None], inside - _NO_LABEL), 1)
    # A window that is mostly without a label has none; on a tie a label wins.
    named: Array = counts[:, 1:].argmax(1)
    return np.where(counts[:, 0] > counts[:, 1:].max(1), _NO_LABEL, named)


def rule_for(asked: str | None, of_classes: bool, each: bool) -> Rule:
    """The rule that is asked for, or that suits the labels.

    Raises:
        InputError: Classes have no mean, or values no majority.
    """
    if each:
        if asked is not None:
            raise InputError(
                f"--window-label {asked}: the model answers for each row of a window",
                "leave it out",
            )
        return "each"
    if asked is None:
        return "majority" if of_classes else "last"
    if asked == "mean" and of_classes:
        raise InputError("--window-label mean: classes have no mean", "take majority or last")
    if asked == "majority" and not of_classes:
        raise InputError("--window-label majority: values have no majority", "take mean or last")
    rules: dict[str, Rule] = {"mean": "mean", "majority": "majority", "last": "last"}
    return rules[asked]


def labelled(targets: Array, of_classes: bool) -> Array:
    """(windows,) whether each window has a label, in all rows where each has its own."""
    missing = (targets == _NO_LABEL) if of_classes else np.isnan(targets)
    return np.logical_not(missing.reshape(len(missing), -1).any(1))
