"""The verdict on a run: one value, told in the same words wherever it is shown.

The exit code follows it: 1 where a check is unmet or a file was refused, whatever devices did; 3
where only a device failed, so that a job which tries again on 3 never tries again on a bad file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgepress.benchmarks.records.base import Record, Several


class UnmetCheck(Record):
    """A check that was asked for and doesn't hold.

    Attributes:
        what: What is bounded, such as the metric's name.
        where: The stage or file.
        text: The check in one sentence, with its figures.
        before: What it was held against.
        after: What it is.
        allowed: The bound.
        next: What to try.
    """

    what: str
    where: str
    text: str
    before: float | None = None
    after: float | None = None
    allowed: float | None = None
    next: str = ""


class BudgetRecord(Record):
    """What a file takes of something that is limited.

    Attributes:
        format: The file's format.
        quantize: Its precision.
        what: "size", "RAM" or "latency".
        unit: "bytes" or "ms".
        value: What it takes; None where that isn't known.
        high: The upper end of its 95 % interval, where it was measured.
        limit: What it may take.
        unknown: Why the value says nothing; empty where it does.
    """

    format: str
    quantize: str
    what: str
    unit: str
    value: float | None = None
    high: float | None = None
    limit: float = 0.0
    unknown: str = ""

    @property
    def held(self) -> bool:
        """Whether it is shown that the file keeps within the limit."""
        worst = self.value if self.high is None else self.high
        return not self.unknown and worst is not None and worst <= self.limit

    @property
    def text(self) -> str:
        """The figure beside its limit."""
        limit = f"{_figure(self.limit, self.unit)} {self.unit}"
        if self.unknown or self.value is None:
            return f"{self.what} not known ({self.unknown or 'not measured'}), allowed are {limit}"
        value = _figure(self.value, self.unit)
        if self.high is not None and self.value <= self.limit < self.high:
            value += f" (up to {_figure(self.high, self.unit)} with 95 % confidence)"
        return f"{self.what} {value} of {limit}"


def by_file(budgets: Iterable[BudgetRecord]) -> tuple[tuple[BudgetRecord, ...], ...]:
    """Those of each file together."""
    found: dict[tuple[str, str], list[BudgetRecord]] = {}
    for budget in budgets:
        found.setdefault((budget.format, budget.quantize), []).append(budget)
    return tuple(map(tuple, found.values()))


def fit_line(of_file: Sequence[BudgetRecord]) -> str:
    """Whether a file keeps within all its limits, with its figures."""
    first = of_file[0]
    fits = "fits" if all(budget.held for budget in of_file) else "does not fit"
    return f"{first.format} {first.quantize} {fits}: {', '.join(b.text for b in of_file)}"


class RefusedFile(Record):
    """A file that was written, failed its verification and was withheld.

    Attributes:
        format: Its format.
        quantize: Its precision.
        reason: Why it is refused.
        next: What to try.
    """

    format: str
    quantize: str
    reason: str
    next: str = ""


class DeviceFailure(Record):
    """What a device could not measure.

    Attributes:
        device: Its name.
        artifact: The file; empty where the device could not be used at all.
        reason: Why.
    """

    device: str
    artifact: str = ""
    reason: str = ""


class Verdict(Record):
    """Whether a run is accepted, and everything that speaks against it.

    Attributes:
        accepted: Whether every check holds and no file was refused.
        unmet: The checks that don't hold.
        refused: The files that were withheld.
        failures: What devices could not measure; it costs figures, not acceptance.
        budgets: What each file takes of what the recipe limits.
        headline: All of it in one line.
        lines: One line for each item of the three.
    """

    accepted: bool
    unmet: Several[UnmetCheck] = ()
    refused: Several[RefusedFile] = ()
    failures: Several[DeviceFailure] = ()
    budgets: Several[BudgetRecord] = ()
    headline: str = ""
    lines: Several[str] = ()

    @classmethod
    def of(
        cls,
        unmet: tuple[UnmetCheck, ...] = (),
        refused: tuple[RefusedFile, ...] = (),
        failures: tuple[DeviceFailure, ...] = (),
        accepted: bool | None = None,
        budgets: tuple[BudgetRecord, ...] = (),
    ) -> Verdict:
        """The verdict on what was found.

        Args:
            unmet: Checks that don't hold.
            refused: Files that were withheld.
            failures: What devices could not measure.
            accepted: What an earlier record says; follows from the others by default.
            budgets: What files take; those that aren't held are among `unmet`.
        """
        holds = not unmet and not refused if accepted is None else accepted
        lines = (
            *(_with_next(check.text, check.next) for check in unmet),
            *(
                _with_next(f"{f.format} {f.quantize} was not published: {f.reason}", f.next)
                for f in refused
            ),
            *(_device_line(failure) for failure in failures),
        )
        return cls(
            accepted=holds,
            unmet=unmet,
            refused=refused,
            failures=failures,
            budgets=budgets,
            headline=_headline(holds, len(unmet), len(refused), len(failures)),
            lines=lines,
        )

    @property
    def exit_code(self) -> int:
        """0 accepted and measured, 1 not accepted, 3 accepted but not measured everywhere."""
        if not self.accepted:
            return 1
        return 3 if self.failures else 0

    @property
    def fits(self) -> tuple[str, ...]:
        """One line for each file whose size, memory or time is limited: whether it fits."""
        return tuple(fit_line(of_file) for of_file in by_file(self.budgets))

    @property
    def complaints(self) -> tuple[str, ...]:
        """The lines that keep the run from being accepted."""
        return self.lines[: len(self.unmet) + len(self.refused)]


def _figure(value: float, unit: str) -> str:
    return f"{value:,.0f}" if unit == "bytes" else f"{value:.3g}"


def _with_next(text: str, next: str) -> str:
    return f"{text}; next: {next}" if next else text


def _device_line(failure: DeviceFailure) -> str:
    what = f"{failure.artifact} on {failure.device}" if failure.artifact else failure.device
    return f"{what} was not measured: {failure.reason}"


def _headline(accepted: bool, unmet: int, refused: int, failures: int) -> str:
    parts = [
        f"{count} {word if count == 1 else several}"
        for count, word, several in (
            (unmet, "check is unmet", "checks are unmet"),
            (refused, "file was refused", "files were refused"),
            (failures, "measurement failed on a device", "measurements failed on devices"),
        )
        if count
    ]
    if accepted:
        first = "accepted: every published file passed its checks"
        return f"{first}; {parts[0]}" if parts else first
    return f"not accepted: {', '.join(parts) or 'a check that was asked for failed'}"
