"""The gain receipt: what each stage brought, and why where it brought nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgepress.benchmarks.records import BenchmarkRecord, BenchmarkRow, StageRecord
from edgepress.benchmarks.records.rows import NOT_REAL, TimeChange

_SPARSE = ("weights", "blocks", "nm")
_FIGURES = ("params", "macs", "raw_bytes", "gzip_bytes")


def receipt(stages: Sequence[StageRecord], measured: BenchmarkRecord) -> tuple[StageRecord, ...]:
    """Stages with their time and what they brought in words.

    Args:
        stages: What each stage left, in order.
        measured: The benchmark of the stages' float files. Their times are taken from one device
            that ran them in one way, a real one where there is one.

    Returns:
        The stages, each with `median_ms` and its device, `change` since the stage before, `note`
        on size and work, and `time_note` on time.
    """
    rows = measured.reference(stage.file for stage in stages)
    lines: list[StageRecord] = []
    for i, (stage, row) in enumerate(zip(stages, rows, strict=True)):
        gain: dict[str, Any] = {"median_ms": None, "note": "", "time_note": "", "change": {}}
        if row is not None:
            gain |= {
                "median_ms": row.median_ms,
                "device": row.device,
                "timing_valid": row.timing_valid,
            }
        if i:
            faster = measured.change(rows[i - 1], row)
            gain["note"] = _note(stages[i - 1], stage)
            gain["time_note"] = _time_note(stages[i - 1], stage, row, faster)
            gain["change"] = _change(stages[i - 1], stage)
            if faster is not None:
                gain["change"]["median_ms"] = faster.share
                gain["time_same"] = faster.same
        kept = {k: v for k, v in stage.to_json().items() if k != "key"}
        lines.append(StageRecord.model_validate({**kept, **gain}))
    return tuple(lines)


def _change(before: StageRecord, after: StageRecord) -> dict[str, float]:
    """Relative change of each figure since the stage before; -0.5 is half."""
    return {
        figure: -_share(old, new)
        for figure in _FIGURES
        if (old := getattr(before, figure)) and (new := getattr(after, figure)) is not None
    }


def _note(before: StageRecord, after: StageRecord) -> str:
    """One sentence about a stage's size and work."""
    if after.kind == "finetune":
        return "fine-tuning changes weights, not shapes: size and time stay"
    if after.kind == "strip":
        return _strip_note(before, after)
    if after.structure in _SPARSE:
        return _sparse_note(before, after)
    macs, size = _share(before.macs, after.macs), _share(before.params, after.params)
    return f"{macs:.0%} of the MACs and {size:.0%} of the parameters were removed"


def _strip_note(before: StageRecord, after: StageRecord) -> str:
    if after.raw_bytes == before.raw_bytes:
        return "nothing to strip: the model holds no training-only parts"
    return "parts that only training needed were removed"


def _sparse_note(before: StageRecord, after: StageRecord) -> str:
    gzip = _share(before.gzip_bytes, after.gzip_bytes)
    return (
        f"{after.sparsity or 0.0:.0%} zeros don't make a dense file smaller, but its gzip by"
        f" {gzip:.0%}; for a smaller file use --quantize int8"
    )


def _time_note(
    before: StageRecord, after: StageRecord, row: BenchmarkRow | None, change: TimeChange | None
) -> str:
    """One sentence about a stage's time, where there is something to say."""
    if after.kind in ("finetune", "strip"):
        return ""
    if row is not None and not row.timing_valid:
        return f"the time on {row.device} is {NOT_REAL}: it isn't compared"
    if change is None:
        return "the time wasn't measured"
    if after.structure in _SPARSE and (change.same or change.share > 0):
        return (
            f"{_stayed(change)}: LiteRT and ONNX Runtime multiply by these zeros as by any number;"
            " for speed use --structure channels"
        )
    if change.same or change.share > 0:
        return (
            f"{_stayed(change)}: it isn't in the layers that were cut; benchmark --profile shows"
            " where it is"
        )
    gone = f"{-change.share:.0%} less latency"
    if after.structure not in _SPARSE and -change.share < _share(before.macs, after.macs) / 2:
        return f"{gone}; the rest is memory traffic and the fixed cost of each operator"
    return gone


def _stayed(change: TimeChange) -> str:
    if change.same:
        return "the time is the same within the noise of the machine"
    return f"the time grew by {change.share:.0%}"


def _share(before: float | None, after: float | None) -> float:
    """The share of `before` that is gone."""
    return 1 - after / before if before and after is not None else 0.0
