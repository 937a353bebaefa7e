"""A benchmark for machines that watch: JUnit's XML and the JSON of GitHub's benchmark action.

Source: the JUnit schema as CI servers read it; benchmark-action/github-action-benchmark,
tool "customSmallerIsBetter".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from edgepress.benchmarks.history import Change, Document


def render_github(document: Document) -> str:
    """Rows for GitHub's benchmark action: latency and size of each file, smaller is better."""
    entries: list[dict[str, Any]] = []
    for row in document["rows"]:
        name = f"{row.get('label') or row['artifact']} on {row.get('device', 'local')}"
        if row.get("timing_valid", True):
            low, high = row["ci95_ms"]
            entries.append(
                {
                    "name": f"{name}: latency",
                    "unit": "ms",
                    "value": row["median_ms"],
                    "range": f"{low:.4g} to {high:.4g}",
                    "extra": f"{row['runs']} runs, {row['threads']} threads",
                }
            )
        entries.append({"name": f"{name}: size", "unit": "bytes", "value": row["bytes"]})
    return json.dumps(entries, indent=2) + "\n"


def render_junit(document: Document, found: Sequence[Change] = ()) -> str:
    """A test case for each row, device that failed, and change; regressions are failures."""
    suite = ElementTree.Element("testsuite", name="edgepress benchmark")
    for row in document["rows"]:
        name = str(row.get("label") or row["artifact"])
        case = _case(suite, f"{name}: measured", str(row.get("device", "local")))
        case.set("time", f"{row['median_ms'] / 1e3:.9f}")
    for failure in document.get("failures") or ():
        name = failure["artifact"] or "reach the device"
        _failed(_case(suite, f"{name}: measured", failure["device"]), failure["reason"])
    for change in found:
        case = _case(suite, f"{change.artifact}: {change.quantity}", change.device)
        if change.verdict == "regression":
            _failed(case, f"from {change.before:g} to {change.after:g} ({change.reason})")
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ElementTree.Element, name: str, device: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", name=name, classname=f"edgepress.{device}")


def _failed(case: ElementTree.Element, message: str) -> None:
    ElementTree.SubElement(case, "failure", message=message)
