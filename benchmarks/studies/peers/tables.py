"""Results as contests, and contests as tables: what edgepress loses comes first."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["behind", "level", "ahead", "alone", "missing"]
# In the order of the page.
_ORDER: tuple[Outcome, ...] = ("behind", "level", "ahead", "alone", "missing")
_HEADINGS: dict[Outcome, str] = {
    "behind": "Behind",
    "level": "Level",
    "ahead": "Ahead",
    "alone": "Only edgepress has a result",
    "missing": "edgepress has no result",
}


@dataclass(frozen=True)
class Row:
    """What one way of one tool gave.

    Attributes:
        tool: Title of the tool, with its method.
        values: What is compared, one for each seed; none where it failed.
        own: Whether the tool is edgepress.
        cells: What else is told, as text, in the order of the contest's columns.
        failed: Why there are no values.
    """

    tool: str
    values: tuple[float, ...]
    own: bool = False
    cells: tuple[str, ...] = ()
    failed: str = ""

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.values)


@dataclass(frozen=True)
class Contest:
    """One job given to several tools.

    Attributes:
        title: The job.
        measure: What is compared.
        columns: Headings of the rows' further cells.
        rows: One for each tool and method.
        higher: Whether more is better.
        tie: Difference below which two results are level; a share of the peer's where
            `relative` is set.
        relative: Whether differences are told as shares.
        digits: Decimals of the values.
    """

    title: str
    measure: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    higher: bool = True
    tie: float = 0.005
    relative: bool = False
    digits: int = 4

    def ranked(self) -> list[Row]:
        """Rows with values, the best first."""
        found = [row for row in self.rows if row.values]
        return sorted(found, key=lambda row: row.mean, reverse=self.higher)

    @property
    def lead(self) -> float | None:
        """How far edgepress's best is better than the best of all others; None without both."""
        own, others = ([r for r in self.ranked() if r.own is side] for side in (True, False))
        if not own or not others:
            return None
        gap = own[0].mean - others[0].mean
        gap = gap / abs(others[0].mean) if self.relative else gap
        return gap if self.higher else -gap

    @property
    def outcome(self) -> Outcome:
        """How edgepress's best row stands to the best of all others."""
        if self.lead is None:
            return "alone" if any(r.own for r in self.ranked()) else "missing"
        if abs(self.lead) <= self.tie:
            return "level"
        return "ahead" if self.lead > 0 else "behind"


def summary(contests: Sequence[Contest]) -> str:
    """A table with a line for each contest: what edgepress loses first, by how much it does."""
    lines = [
        "| job | edgepress is | edgepress | best peer | by |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for contest in in_order(contests):
        own, others = (
            next((r for r in contest.ranked() if r.own is side), None) for side in (True, False)
        )
        lead = "" if contest.lead is None else _lead(contest, contest.lead)
        lines.append(
            f"| {contest.title} | {_HEADINGS[contest.outcome].lower()} | {_best(contest, own)}"
            f" | {_best(contest, others)} | {lead} |"
        )
    return "\n".join(lines)


def _lead(contest: Contest, lead: float) -> str:
    return f"{lead:+.1%}" if contest.relative else f"{lead:+.{contest.digits}f}"


def _best(contest: Contest, row: Row | None) -> str:
    return "none" if row is None else f"{row.tool}: {row.mean:,.{contest.digits}f}"


def in_order(contests: Iterable[Contest]) -> list[Contest]:
    """What edgepress loses first, by how much, then what is level, then the rest."""
    return sorted(contests, key=lambda c: (_ORDER.index(c.outcome), c.lead or 0.0))


def table(contest: Contest) -> str:
    """One contest with all rows, the best first and those that failed last."""
    heads = ["tool", contest.measure, *contest.columns]
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
    for row in contest.ranked():
        name = f"**{row.tool}**" if row.own else row.tool
        lines.append(f"| {name} | {_value(contest, row)} | {' | '.join(row.cells)} |")
    for row in contest.rows:
        if not row.values:
            blank = " | ".join([""] * len(contest.columns))
            lines.append(f"| {row.tool} | no result: {_plain(row.failed)} | {blank} |")
    return f"### {contest.title}: {_HEADINGS[contest.outcome].lower()}\n\n" + "\n".join(lines)


def _plain(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")


def _value(contest: Contest, row: Row) -> str:
    mean = f"{row.mean:,.{contest.digits}f}"
    if len(row.values) == 1:
        return mean
    each = " ".join(f"{value:,.{contest.digits}f}" for value in row.values)
    return f"{mean} ({each})"
