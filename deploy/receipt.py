"""The gain receipt: what each stage brought, and why where it brought nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Differences of measured time below this share are not told from noise here.
_VISIBLE = 0.05
_SPARSE = ("weights", "blocks", "nm")


def receipt(stages: list[dict[str, Any]], measured: dict[str, Any]) -> list[dict[str, Any]]:
    """Stages with their time and what they brought in words.

    Args:
        stages: What each stage left, in order.
        measured: The benchmark of the stages' float files.

    Returns:
        The stages, each with `median_ms`, `change` since the stage before, `note` on size and work,
        and `time_note` on time.
    """
    times = {Path(row["artifact"]).parent.name: row["median_ms"] for row in measured["rows"]}
    lines: list[dict[str, Any]] = []
    for stage in stages:
        line = {k: v for k, v in stage.items() if k != "key"}
        line["median_ms"] = times.get(stage["name"])
        line["note"] = _note(lines[-1], line) if lines else ""
        line["time_note"] = _time_note(lines[-1], line) if lines else ""
        line["change"] = _change(lines[-1], line) if lines else {}
        lines.append(line)
    return lines


def _change(before: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    """Relative change of each figure since the stage before; -0.5 is half."""
    return {
        figure: -_share(before[figure], after[figure])
        for figure in ("params", "macs", "raw_bytes", "gzip_bytes", "median_ms")
        if before.get(figure) and after.get(figure) is not None
    }


def _note(before: dict[str, Any], after: dict[str, Any]) -> str:
    """One sentence about a stage's size and work."""
    kind, structure = after["kind"], after.get("structure")
    if kind == "finetune":
        return "fine-tuning changes weights, not shapes: size and time stay"
    if kind == "strip":
        return _strip_note(before, after)
    if structure in _SPARSE:
        return _sparse_note(before, after)
    macs, size = (_share(before[k], after[k]) for k in ("macs", "params"))
    return f"{macs:.0%} of the MACs and {size:.0%} of the parameters are gone for real"


def _strip_note(before: dict[str, Any], after: dict[str, Any]) -> str:
    if after["raw_bytes"] == before["raw_bytes"]:
        return "nothing to strip: the model was plain already"
    return "parts that only training needed are gone"


def _sparse_note(before: dict[str, Any], after: dict[str, Any]) -> str:
    gzip = _share(before.get("gzip_bytes"), after.get("gzip_bytes"))
    zeros = after.get("sparsity", 0.0)
    return (
        f"{zeros:.0%} zeros don't make a dense file smaller, but its gzip by {gzip:.0%};"
        " for a smaller file use --quantize int8"
    )


def _time_note(before: dict[str, Any], after: dict[str, Any]) -> str:
    """One sentence about a stage's time, where there is something to say."""
    if after["kind"] in ("finetune", "strip"):
        return ""
    if not before.get("median_ms") or not after.get("median_ms"):
        return "the time wasn't measured"
    faster = _share(before["median_ms"], after["median_ms"])
    if after.get("structure") in _SPARSE:
        if faster >= _VISIBLE:
            return f"{faster:.0%} of the time is gone"
        return (
            "the time stayed: LiteRT and ONNX Runtime multiply by these zeros as by any number;"
            " for speed use --structure channels"
        )
    return _structure_time(_share(before["macs"], after["macs"]), faster)


def _structure_time(macs: float, faster: float) -> str:
    if faster < _VISIBLE:
        return (
            "the time stayed: it isn't in the layers that were cut; benchmark --profile shows"
            " where it is"
        )
    if faster < macs / 2:
        return (
            f"{faster:.0%} of the time is gone; the rest is memory traffic and the fixed cost of"
            " each operator"
        )
    return f"{faster:.0%} of the time is gone"


def _share(before: float | None, after: float | None) -> float:
    """The share of `before` that is gone."""
    return 1 - after / before if before and after is not None else 0.0
