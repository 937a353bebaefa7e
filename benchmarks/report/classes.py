"""What the files of a run decide: scores by class, confusion matrices, and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgepress.benchmarks.number_format import ABSENT, share_text
from edgepress.benchmarks.records import ArtifactRecord, RunRecord
from edgepress.benchmarks.report.view_model import Grid
from edgepress.compress.kernel.artifact import ClassDecisions

Matrix = Sequence[Sequence[int]]
# Files whose decisions stand beside the model's.
_FILES = 2


@dataclass(frozen=True)
class Classes:
    """The classes of a run.

    Attributes:
        split: What the decisions were made on.
        scores: Recall and precision of each class, of the model and of some files.
        matrices: Names and confusion matrices of the same.
        changed: Samples that a file decides differently; None where there are none.
    """

    split: str
    scores: Grid
    matrices: tuple[tuple[str, Grid], ...]
    changed: Grid | None


def classes(run: RunRecord) -> Classes | None:
    """What the model and its files decide; None where nothing decides between a few classes.

    The files are those of int8, else those that differ most from the model.
    """
    decided = [(a, d) for a in run.artifacts if a.verified for d in a.verified.decisions[:1]]
    if not decided:
        return None
    decided.sort(key=lambda pair: (pair[0].quantize != "int8", -_changes(pair[1])))
    shown = decided[:_FILES]
    names = shown[0][1].names
    tables: list[tuple[str, Matrix]] = [("the model", shown[0][1].source)]
    tables += [(artifact.name, decisions.file) for artifact, decisions in shown]
    verified = shown[0][0].verified
    return Classes(
        (verified.split if verified else None) or "data",
        _scores(names, tables),
        tuple((title, _matrix_grid(names, matrix)) for title, matrix in tables),
        _changed(shown),
    )


def _changes(decisions: ClassDecisions) -> int:
    return len(decisions.changed)


def _scores(names: Sequence[str], tables: Sequence[tuple[str, Matrix]]) -> Grid:
    heads = [f"{score}, {title}" for title, _ in tables for score in ("recall", "precision")]
    rows = []
    for i, name in enumerate(names):
        cells = [
            _share(matrix[i][i], total)
            for _, matrix in tables
            for total in (sum(matrix[i]), sum(row[i] for row in matrix))
        ]
        rows.append((name, str(sum(tables[0][1][i])), *cells))
    return Grid(("class", "samples", *heads), tuple(rows))


def _share(right: int, total: int) -> str:
    return share_text(right / total) if total else ABSENT


def _matrix_grid(names: Sequence[str], matrix: Matrix) -> Grid:
    rows = tuple(
        (name, *(str(count) for count in row)) for name, row in zip(names, matrix, strict=True)
    )
    return Grid(("true class", *names), rows)


def _changed(shown: Sequence[tuple[ArtifactRecord, ClassDecisions]]) -> Grid | None:
    rows = tuple(
        (str(sample), artifact.name, *(decisions.names[i] for i in (true, source, file)),
         _verdict(true, source, file))
        for artifact, decisions in shown
        for sample, true, source, file in decisions.changed
    )  # fmt: skip
    columns = ("sample", "file", "true class", "model", "decision", "")
    note = "Samples count from 0 among those that the files were verified on."
    return Grid(columns, rows, (note,)) if rows else None


def _verdict(true: int, source: int, file: int) -> str:
    if source == true:
        return "✗ lost"
    return "✓ won" if file == true else "wrong before and after"
