"""What a page shows of a run beyond its tables: layers, classes, where the figures come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgepress.benchmarks.number_format import bytes_text, count_text
from edgepress.benchmarks.records import RunRecord

Run = RunRecord


@dataclass(frozen=True)
class Bar:
    """A layer's figure before and after, and both as shares of the largest one in per cent."""

    before: str
    after: str
    was: float
    now: float


@dataclass(frozen=True)
class LayerRow:
    """A layer of the exported model beside itself in the first one.

    Attributes:
        name: Of the layer.
        type: Its class.
        figures: Heads and figures; "gone" stands for those of a layer that was removed.
    """

    name: str
    type: str
    figures: tuple[tuple[str, Bar], ...]


_FIGURES = (("MACs", "macs", count_text), ("parameters", "params", count_text),
            ("output", "activation_bytes", bytes_text))  # fmt: skip


def layers(run: Run) -> list[LayerRow]:
    """The layers that compute or hold something, of the first stage's model and the last one's."""
    if not run.stages or not run.stages[-1].layers:
        return []
    last = {layer["name"]: layer for layer in run.stages[-1].layers}
    first = {layer["name"]: layer for layer in run.stages[0].layers} or last
    names = [n for n in dict.fromkeys((*first, *last)) if _counts(first.get(n) or last[n])]
    largest = {
        field: max(max(layer[field] for layer in model.values()) for model in (first, last)) or 1
        for _, field, _ in _FIGURES
    }
    rows = []
    for name in names:
        old, new = first.get(name), last.get(name)
        figures = tuple(
            (head, _bar(old, new, field, text, largest[field])) for head, field, text in _FIGURES
        )
        rows.append(LayerRow(name, str((new or old or {})["type"]), figures))
    return rows


def _counts(layer: Mapping[str, Any]) -> bool:
    return bool(layer["macs"] or layer["params"])


def _bar(
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any] | None,
    field: str,
    text: Callable[[float], str],
    top: float,
) -> Bar:
    before = None if old is None else old[field]
    after = None if new is None else new[field]
    same = before == after
    return Bar(
        "" if same or before is None else text(before),
        "gone" if after is None else text(after),
        round(100 * (before or 0) / top, 1),
        round(100 * (after or 0) / top, 1),
    )


def provenance(run: Run) -> list[tuple[str, str]]:
    """Where the figures come from."""
    samples = ", ".join(f"{k} {v}" for k, v in (run.data.get("samples") or {}).items())
    given = run.recipe.get("data")
    found = [
        ("date", run.date),
        ("command", run.command),
        ("commit", run.commit),
        ("model", run.model),
        ("data", given.get("spec") if isinstance(given, Mapping) else given),
        ("hash of the data", run.data.get("hash")),
        ("samples", samples),
        ("task", run.data.get("task")),
        ("seed", run.seed),
        ("machine", ", ".join(str(v) for v in run.machine.values() if v)),
        ("versions", ", ".join(f"{k} {v}" for k, v in run.versions.items())),
    ]
    return [(name, str(value)) for name, value in found if value not in (None, "")]
