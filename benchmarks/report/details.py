"""What a page shows of a run beyond its tables: layers, classes, where the figures come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgepress.benchmarks.number_format import bytes_text, count_text
from edgepress.benchmarks.records import RunRecord
from edgepress.benchmarks.records.facts import LayerFacts

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
    last = {layer.name: layer for layer in run.stages[-1].layers}
    first = {layer.name: layer for layer in run.stages[0].layers} or last
    names = [n for n in dict.fromkeys((*first, *last)) if _counts(first.get(n) or last[n])]
    largest = {
        field: max(_figure(layer, field) or 0 for layer in (*first.values(), *last.values())) or 1
        for _, field, _ in _FIGURES
    }
    rows = []
    for name in names:
        old, new = first.get(name), last.get(name)
        figures = tuple(
            (head, _bar(old, new, field, text, largest[field])) for head, field, text in _FIGURES
        )
        rows.append(LayerRow(name, (new or first[name]).type, figures))
    return rows


def _counts(layer: LayerFacts) -> bool:
    return bool(layer.macs or layer.params)


def _figure(layer: LayerFacts | None, field: str) -> int | None:
    found: int | None = getattr(layer, field, None)
    return found


def _bar(
    old: LayerFacts | None,
    new: LayerFacts | None,
    field: str,
    text: Callable[[float], str],
    top: float,
) -> Bar:
    before, after = _figure(old, field), _figure(new, field)
    same = before == after
    return Bar(
        "" if same or before is None else text(before),
        "gone" if new is None else "" if after is None else text(after),
        round(100 * (before or 0) / top, 1),
        round(100 * (after or 0) / top, 1),
    )


def provenance(run: Run) -> list[tuple[str, str]]:
    """Where the figures come from."""
    samples = ", ".join(f"{k} {v}" for k, v in run.data.samples.items())
    given = run.recipe.get("data")
    found = [
        ("date", run.date),
        ("command", run.command),
        ("commit", run.commit),
        ("model", run.model),
        ("data", given.get("spec") if isinstance(given, Mapping) else given),
        ("hash of the data", run.data.hash),
        ("samples", samples),
        ("task", run.data.task),
        ("seed", run.seed),
        ("machine", ", ".join(str(v) for v in run.machine.values() if v)),
        ("versions", ", ".join(f"{k} {v}" for k, v in run.versions.items())),
    ]
    return [(name, str(value)) for name, value in found if value not in (None, "")]
