"""What the published files take of flash, memory and time, beside what the recipe allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgepress.benchmarks.records import (
    ArtifactRecord,
    BenchmarkRecord,
    BenchmarkRow,
    BudgetRecord,
    StageRecord,
    UnmetCheck,
    by_file,
    fit_line,
)
from edgepress.compress.errors import InputError
from edgepress.compress.specs.amounts import latency_ms, limit_of
from edgepress.deploy.recipe import AcceptSpec, Recipe

# Formats of which a limit can be shown: an ONNX file has no plan of its memory, no device here runs
# C sources, and what the code of standalone ones takes of the flash is up to the compiler.
_SHOWN_FOR = {
    "max_bytes": ("tflite", "onnx", "c"),
    "max_ram": ("tflite", "c", "c-standalone"),
    "max_latency": ("tflite", "onnx"),
}
_NO_FLOAT_FILE = "the given model has no float32 TFLite file that a share could be of"


def check_budgets(recipe: Recipe) -> None:
    """Refuse a limit that can't be shown for a format.

    Raises:
        InputError: Names both.
    """
    for name, formats in _SHOWN_FOR.items():
        if getattr(recipe.accept, name) is None:
            continue
        for format in recipe.export.formats:
            if format not in formats:
                raise InputError(
                    f"{name} can't be shown for format {format}, only for {', '.join(formats)}",
                    f"leave {format} out, or {name}",
                )


def budgets_of(
    recipe: Recipe,
    given: StageRecord,
    artifacts: Sequence[ArtifactRecord],
    measured: BenchmarkRecord,
) -> tuple[BudgetRecord, ...]:
    """What each file takes of everything that is limited.

    Args:
        recipe: Its `accept` has the limits.
        given: The record of the given model, which shares refer to.
        artifacts: The published files.
        measured: Memory and latency of them and of the given model's float32 TFLite file.
    """
    accept = recipe.accept
    return tuple(
        budget
        for artifact in artifacts
        for budget in (
            *_size(accept, given, artifact),
            *_ram(accept, given, artifact, measured),
            *_latency(recipe, given, artifact, measured),
        )
    )


def unmet_budgets(recipe: Recipe, budgets: Sequence[BudgetRecord]) -> Iterator[UnmetCheck]:
    """A check for each file that is not shown to keep within its limits, with what to try."""
    files = by_file(budgets)
    fitting = [f"{of[0].format} {of[0].quantize}" for of in files if all(b.held for b in of)]
    for of_file in files:
        missed = [budget for budget in of_file if not budget.held]
        if missed:
            worst = max(missed, key=_excess)
            yield UnmetCheck(
                what=worst.what,
                where=f"{worst.format} {worst.quantize}",
                text=fit_line(of_file),
                after=worst.value,
                allowed=worst.limit,
                next=_next(recipe, worst, fitting),
            )


def _excess(budget: BudgetRecord) -> float:
    """By how much too much; what isn't known comes first."""
    if budget.unknown or budget.value is None or not budget.limit:
        return float("inf")
    return budget.value / budget.limit


def _size(
    accept: AcceptSpec, given: StageRecord, artifact: ArtifactRecord
) -> Iterator[BudgetRecord]:
    if accept.max_bytes is not None:
        yield _budget(artifact, "size", artifact.bytes, accept.max_bytes, given.raw_bytes)


def _ram(
    accept: AcceptSpec, given: StageRecord, artifact: ArtifactRecord, measured: BenchmarkRecord
) -> Iterator[BudgetRecord]:
    if accept.max_ram is not None:
        full, value = _arena(measured, given.file), artifact.arena_bytes
        value = _arena(measured, artifact.file) if value is None else value
        yield _budget(artifact, "RAM", value, accept.max_ram, full)


def _arena(measured: BenchmarkRecord, file: str | None) -> int | None:
    """The largest that any device told of a file."""
    return max((r.arena_bytes for r in measured.rows_of(file) if r.arena_bytes), default=None)


def _budget(
    artifact: ArtifactRecord, what: str, value: int | None, asked: float, full: int | None
) -> BudgetRecord:
    return BudgetRecord(
        format=artifact.format,
        quantize=artifact.quantize,
        what=what,
        unit="bytes",
        value=value,
        limit=limit_of(asked, full or 0),
        unknown=_NO_FLOAT_FILE if asked <= 1 and not full else "",
    )


def _latency(
    recipe: Recipe, given: StageRecord, artifact: ArtifactRecord, measured: BenchmarkRecord
) -> Iterator[BudgetRecord]:
    asked = recipe.accept.max_latency
    if asked is None:
        return
    row = _first_row(recipe, measured, artifact.file)
    before = _first_row(recipe, measured, given.file)
    limit, unknown = 0.0, ""
    value = high = None
    if row is not None and row.median_ms is not None:
        value, high = row.median_ms, row.ci95_ms[1] if row.ci95_ms else None
        unknown = "" if row.timing_valid else f"'{row.device}' gives no real times"
    if isinstance(asked, str):
        limit = latency_ms(asked)
    elif before is None or before.median_ms is None:
        unknown = unknown or _NO_FLOAT_FILE
    else:
        limit = asked * before.median_ms
        beside = measured.compared(before, row) if row is not None else None
        if beside is not None:
            # Both were timed in turns: a machine that changed its speed shifts both.
            value, high = (before.median_ms * r for r in (beside.ratio, beside.ci95[1]))
    yield BudgetRecord(
        format=artifact.format,
        quantize=artifact.quantize,
        what="latency",
        unit="ms",
        value=value,
        high=high,
        limit=limit,
        unknown=unknown,
    )


def _first_row(recipe: Recipe, measured: BenchmarkRecord, file: str | None) -> BenchmarkRow | None:
    """A file's row of the first device, as it is run there first."""
    device = recipe.benchmark.devices[0]
    rows = measured.rows_of(file)
    return next((row for row in rows if row.device == device), None)


def _next(recipe: Recipe, worst: BudgetRecord, fitting: Sequence[str]) -> str:
    """What may bring a file within its limits."""
    if fitting:
        return f"{fitting[0]} fits: leave the others out with --format and --quantize"
    if worst.unknown or worst.value is None:
        return ""
    if worst.quantize in ("float32", "float16") and "int8" not in recipe.export.quantize:
        return "--quantize int8"
    option = {"size": "--target-size", "RAM": "--target-arena", "latency": "--target-latency"}
    share = worst.limit / worst.value
    kind = f" --target-format {worst.format}" if worst.format != "tflite" else ""
    kind += f" --target-precision {worst.quantize}" if worst.quantize != "float32" else ""
    if worst.what == "latency" or worst.format == "onnx":
        kind = ""
    return (
        f"--structure channels {option[worst.what]} {int(share * 100) / 100 or share:.2g}{kind}:"
        " that share of it must stay"
    )
