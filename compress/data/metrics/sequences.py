"""Errors of sequences of labels: characters, or words.

The rate is the number of labels to insert, delete or replace (Levenshtein distance) over the number
that there should be, over all samples; it may exceed 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.metrics.metric import Metric, Scorer, score_of
from edgepress.compress.errors import InputError

Array = NDArray[Any]


@dataclass(frozen=True)
class _Reading:
    """How labels become a sequence.

    Attributes:
        blank: Label of "nothing" that CTC puts between others; None where only outputs of another
            length than the targets are taken as CTC's, with 0 as Keras has it.
        space: Label between two words; None where each label is one.
        words: Whether words are counted.
    """

    words: bool = False
    blank: int | None = None
    space: int | None = None

    def prepared(self, outputs: Array, targets: Array, logits: bool) -> Scorer:
        """Scores any of the samples: outputs (n, steps, labels), targets (n, length) numbers."""
        del logits
        rows = np.array([self._row(o, t) for o, t in zip(outputs, targets, strict=True)])

        def rate(chosen: Array | None) -> float:
            wrong, length = (rows if chosen is None else rows[chosen]).sum(0)
            return float(wrong / length) if length else float(wrong > 0)

        return rate

    def _row(self, output: Array, target: Array) -> tuple[int, int]:
        """The edits that one sample takes, and the length that it should have."""
        if output.ndim != 2:
            raise InputError(
                "an error rate is taken of sequences, but an output's samples have shape"
                f" {output.shape}",
                "give it to an output of (steps, labels)",
            )
        labels = target if target.ndim == 1 or target.shape[-1] == 1 else target.argmax(-1)
        truth, chosen = np.asarray(labels).ravel().astype(np.int64), output.argmax(-1)
        blank = self.blank
        if blank is None and len(truth) != len(chosen):
            blank = 0
        if blank is not None:
            starts = np.concatenate([[True], chosen[1:] != chosen[:-1]])
            chosen = chosen[starts]
            truth, chosen = truth[truth != blank], chosen[chosen != blank]
        elif (truth < 0).any():  # padding: what stands there is of no sequence
            chosen = chosen[truth >= 0]
        one, other = self._units(truth[truth >= 0]), self._units(chosen)
        return edits(one, other), len(one)

    def _units(self, labels: Array) -> list[Any]:
        """Words, or the labels themselves."""
        if not self.words or self.space is None:
            return list(labels.tolist())
        found: list[tuple[int, ...]] = []
        word: list[int] = []
        for label in [*labels.tolist(), self.space]:
            if label != self.space:
                word.append(label)
            elif word:
                found.append(tuple(word))
                word = []
        return found


def edits(one: Sequence[Any], other: Sequence[Any]) -> int:
    """The least number of insertions, deletions and replacements between two sequences.

    >>> edits("kitten", "sitting")
    3
    """
    numbers = {unit: i for i, unit in enumerate(dict.fromkeys([*one, *other]))}
    columns = np.array([numbers[unit] for unit in other], np.int64)
    places = np.arange(len(other) + 1)
    row = places.copy()
    for unit in one:
        replaced = row[:-1] + (columns != numbers[unit])
        row = np.concatenate([[row[0] + 1], np.minimum(row[1:] + 1, replaced)])
        # Insertions run along the row.
        row = np.minimum.accumulate(row - places) + places
    return int(row[-1])


def _metric(reading: _Reading, argument: Any = None) -> Metric:
    return Metric(
        score_of(reading.prepared), False, any_shape=True, prepared=reading.prepared,
        argument=argument,
    )  # fmt: skip


def _with_labels(words: bool, text: str) -> Metric:
    """`cer:BLANK`, `wer:SPACE` or `wer:SPACE:BLANK`."""
    parts = text.split(":")
    if not all(part.isdecimal() for part in parts) or len(parts) > 1 + words:
        form = "wer:SPACE or wer:SPACE:BLANK" if words else "cer:BLANK"
        raise InputError(f"'{text}' names no labels", f"write {form}, each a label's number")
    numbers = [int(part) for part in parts]
    if not words:
        return _metric(_Reading(blank=numbers[0]))
    return _metric(_Reading(True, numbers[1] if len(numbers) > 1 else None, numbers[0]))


SEQUENCES = {
    "cer": _metric(_Reading(), partial(_with_labels, False)),
    "wer": _metric(_Reading(words=True), partial(_with_labels, True)),
}
