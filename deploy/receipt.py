"""The gain receipt: what each stage brought, and why where it brought nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Differences of measured time below this share are not told from noise here.
_VISIBLE = 0.05


def receipt(stages: list[dict[str, Any]], measured: dict[str, Any]) -> list[dict[str, Any]]:
    """Stages with their time and a note on what they brought.

    Args:
        stages: What each stage left, in order.
        measured: The benchmark of the stages' float files.

    Returns:
        The stages, each with `median_ms` and `note`.
    """
    times = {Path(row["artifact"]).parent.name: row["median_ms"] for row in measured["rows"]}
    lines: list[dict[str, Any]] = []
    for stage in stages:
        line = {k: v for k, v in stage.items() if k != "key"}
        line["median_ms"] = times.get(stage["name"])
        line["note"] = _note(lines[-1], line) if lines else ""
        lines.append(line)
    return lines


def _note(before: dict[str, Any], after: dict[str, Any]) -> str:
    """One sentence about a stage."""
    kind, structure = after["kind"], after.get("structure")
    if kind == "finetune":
        return "fine-tuning changes weights, not shapes: size and time stay"
    if kind == "strip":
        return _strip_note(before, after)
    if structure in ("weights", "blocks", "nm"):
        return _sparse_note(before, after)
    return _structure_note(before, after)


def _strip_note(before: dict[str, Any], after: dict[str, Any]) -> str:
    if after["raw_bytes"] == before["raw_bytes"]:
        return "nothing to strip: the model was plain already"
    return "parts that only training needed are gone"


def _sparse_note(before: dict[str, Any], after: dict[str, Any]) -> str:
    gzip = _share(before.get("gzip_bytes"), after.get("gzip_bytes"))
    zeros = after.get("sparsity", 0.0)
    return (
        f"{zeros:.0%} zeros don't make a dense file smaller, but its gzip by {gzip:.0%};"
        " LiteRT and ONNX Runtime have no sparse kernels for these layers, so the time stays:"
        " for speed use --structure channels, for size --quantize int8"
    )


def _structure_note(before: dict[str, Any], after: dict[str, Any]) -> str:
    macs = _share(before["macs"], after["macs"])
    if not before.get("median_ms") or not after.get("median_ms"):
        return f"{macs:.0%} of the MACs are gone; the time wasn't measured"
    faster = _share(before["median_ms"], after["median_ms"])
    if faster < _VISIBLE:
        return (
            f"{macs:.0%} of the MACs are gone, the time stayed: it isn't in the layers that were"
            " cut; benchmark --profile shows where it is"
        )
    if faster < macs / 2:
        return (
            f"{macs:.0%} of the MACs brought {faster:.0%} of the time: the rest is memory traffic"
            " and the fixed cost of each operator"
        )
    return f"{macs:.0%} of the MACs brought {faster:.0%} of the time"


def _share(before: float | None, after: float | None) -> float:
    """The share of `before` that is gone."""
    return 1 - after / before if before and after is not None else 0.0
