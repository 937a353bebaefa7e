"""What stands in a `benchmark` document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_benchmark(document: Any) -> bool:
    """Whether a JSON value is what `benchmark` writes."""
    rows = document.get("rows") if isinstance(document, dict) else None
    needed = {"artifact", "bytes", "median_ms", "ci95_ms"}
    return isinstance(rows, list) and all(isinstance(r, dict) and needed <= r.keys() for r in rows)


def output_figures(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The metrics of a row's single outputs, without one that is the row's own `value`.

    Each has `output`, `metric` and `value`; with the outcomes by sample too, where those are kept.
    """
    known = {str(o.get("output") or ""): o for o in row.get("outcomes") or ()}
    metrics = list(row.get("metrics") or ())
    alone = sum(bool(m.get("headline", True)) for m in metrics) == 1
    found = {
        str(m["output"]): m
        for m in metrics
        if len(metrics) > 1 and not (alone and m.get("headline", True))
    }
    return list((found | {name: o for name, o in known.items() if name}).values())
