"""A benchmark for machines that watch: JUnit's XML and the JSON of GitHub's benchmark action.

Source: the JUnit schema as CI servers read it; benchmark-action/github-action-benchmark,
tool "customSmallerIsBetter".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from edgepress.benchmarks.gate.change import UNKNOWN, WORSE, Change
from edgepress.benchmarks.gate.rows import output_figures
from edgepress.benchmarks.number_format import is_share, time_mark

Document = Mapping[str, Any]

# Fields of a row that are smaller for a better file, beside its latency.
_SIZES = (
    ("size", "bytes", "bytes"),
    ("arena", "arena_bytes", "bytes"),
    ("memory", "peak_memory_bytes", "bytes"),
    ("energy", "energy_mj", "mJ"),
)


def render_github(document: Document) -> str:
    """Rows for GitHub's benchmark action: every figure of each file, smaller is better."""
    changes = {(c.artifact, c.device, c.quantity): c for c in _changes(document)}
    entries = []
    for row in document["rows"]:
        label, device = str(row.get("label") or row["artifact"]), str(row.get("device", "local"))
        for quantity, entry in _figures(row):
            change = changes.get((label, device, quantity))
            extra = [entry.pop("extra", ""), f"{change.verdict}: {change.reason}" if change else ""]
            said = {"extra": "; ".join(filter(None, extra))} if any(extra) else {}
            name = entry.pop("name", quantity)
            entries.append({"name": f"{label} on {device}: {name}", **entry, **said})
    return json.dumps(entries, indent=2) + "\n"


def _figures(row: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    """The figures of a row: their quantity, and what the action reads."""
    if row.get("timing_valid", True):
        low, high = row["ci95_ms"]
        yield (
            "latency",
            {
                "unit": "ms",
                "value": row["median_ms"],
                "range": f"{low:.4g} to {high:.4g}",
                "extra": f"{row['runs']} runs, {row['threads']} threads",
            },
        )
    for quantity, field, unit in _SIZES:
        if row.get(field):
            yield quantity, {"unit": unit, "value": row[field]}
    yield from _metrics(row)


def _metrics(row: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    """The metrics of a row; of scores, what is missing to 1, or the value with a minus."""
    for holder in (row, *output_figures(row)):
        value, metric = holder.get("value"), holder.get("metric")
        if value is None or not metric:
            continue
        of = f" of output '{holder['output']}'" if holder.get("output") else ""
        quantity, extra = f"{metric}{of}", f"{metric} {value:.6g} on {row.get('split')}"
        unit = "-dB" if metric == "psnr" else f"-{metric}"
        if holder.get("higher_is_better", True) is False or metric in ("mae", "mse", "rmse"):
            yield quantity, {"unit": metric, "value": value, "extra": extra}
        elif not is_share(metric) and metric not in ("r2", "ssim"):
            yield quantity, {"name": f"-{metric}{of}", "unit": unit, "value": -value}
        else:
            name = f"1 - {metric}{of}"
            yield quantity, {"name": name, "unit": "share", "value": 1 - value, "extra": extra}


def render_junit(document: Document, found: Sequence[Change] | None = None) -> str:
    """A test case for each row, device that failed, and change; regressions are failures.

    Args:
        document: A `benchmark` document.
        found: Its changes; those that it holds where none are given.
    """
    suite = ElementTree.Element("testsuite", name="edgepress benchmark")
    for row in document["rows"]:
        name = str(row.get("label") or row["artifact"])
        case = _case(suite, f"{name}: measured", str(row.get("device", "local")))
        mark = time_mark(row)
        if mark:  # a reader of JUnit takes every time for a real one
            ElementTree.SubElement(case, "system-out").text = f"{row['median_ms']:.4g} ms, {mark}"
        else:
            case.set("time", f"{row['median_ms'] / 1e3:.9f}")
    for failure in document.get("failures") or ():
        name = failure["artifact"] or "reach the device"
        _failed(_case(suite, f"{name}: measured", failure["device"]), failure["reason"])
    for change in _changes(document) if found is None else found:
        case = _case(suite, f"{change.artifact}: {change.quantity}", change.device)
        if change.verdict == WORSE:
            _failed(case, f"{change.verdict}: {change.sentence}")
        elif change.verdict == UNKNOWN:
            ElementTree.SubElement(case, "skipped", message=change.sentence)
        else:
            out = ElementTree.SubElement(case, "system-out")
            out.text = f"{change.verdict}: {change.sentence}"
    for note in (document.get("against") or {}).get("notes") or ():
        case = _case(suite, f"against: {note}", "against")
        ElementTree.SubElement(case, "skipped", message=note)
    for count, kind in (("failures", "failure"), ("skipped", "skipped")):
        suite.set(count, str(len(suite.findall(f"testcase/{kind}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _changes(document: Document) -> list[Change]:
    return [Change(**fields) for fields in document.get("changes") or ()]


def _case(suite: ElementTree.Element, name: str, device: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", name=name, classname=f"edgepress.{device}")


def _failed(case: ElementTree.Element, message: str) -> None:
    ElementTree.SubElement(case, "failure", message=message)
