"""One verdict, in the same words on a page, in Markdown, on a terminal and in JSON."""

from __future__ import annotations

import html
import itertools
import re
from typing import Any

import pytest

from edgepress.benchmarks.records import (
    DeviceFailure,
    RefusedFile,
    RunRecord,
    UnmetCheck,
    Verdict,
    run_record,
)
from edgepress.benchmarks.records.rows import NOT_REAL
from edgepress.benchmarks.report.html import render_html
from edgepress.benchmarks.report.markdown import render_markdown, terminal_tables

UNMET = UnmetCheck(
    what="accuracy",
    where="tflite int8",
    text="accuracy fell from 0.9 to 0.4",
    next="--qat-epochs 5",
)
REFUSED = RefusedFile(format="onnx", quantize="int8", reason="it's <3 off", next="verify --layers")
FAILED = DeviceFailure(device="ssh://board", artifact="m.tflite", reason="no answer")


@pytest.mark.parametrize(
    ("unmet", "refused", "failed"), [*itertools.product((0, 1), (0, 1), (0, 2))]
)
def test_everything_that_speaks_against_a_run_is_told_everywhere(
    unmet: int, refused: int, failed: int
) -> None:
    verdict = Verdict.of((UNMET,) * unmet, (REFUSED,) * refused, (FAILED,) * failed)
    assert verdict.accepted == (not unmet and not refused)
    assert verdict.exit_code == (1 if unmet or refused else 3 if failed else 0)
    assert len(verdict.lines) == unmet + refused + failed
    values = {"version": 2, "accepted": verdict.accepted, "verdict": verdict.to_json()}
    page = html.unescape(re.sub(r"<[^>]+>", "", render_html([("run", values)])))
    markdown = render_markdown([("run", values)])
    terminal = "\n".join(str(part) for part in terminal_tables(values))
    for line in (verdict.headline, *verdict.lines):
        assert line in values["verdict"]["lines"] or line == values["verdict"]["headline"]
        for shown in (page, markdown, terminal):
            assert line in shown
    for check in (UNMET,) * unmet:
        assert check.next in page


def test_an_earlier_record_gives_its_reasons_too() -> None:
    old = {"accepted": False, "unmet": ["accuracy fell"], "artifacts": [],
           "rejected": [{"format": "onnx", "quantize": "int8", "reason": "departs"}],
           "benchmark": {"failures": [{"device": "d", "reason": "gone"}]}}  # fmt: skip
    verdict = run_record(old).judged
    assert verdict is not None
    assert not verdict.accepted
    assert [any(w in line for line in verdict.lines) for w in ("fell", "departs", "gone")] == [
        True, True, True
    ]  # fmt: skip


def measured(*rows: tuple[str, str, float, bool]) -> dict[str, Any]:
    """A run of two stages and a file, timed as given: hash, device, ms, whether it is real."""
    return {
        "version": 2,
        "stages": [
            {"name": "00-source", "float_sha256": "first", "raw_bytes": 100},
            {"name": "01-prune", "float_sha256": "second", "raw_bytes": 50},
        ],
        "artifacts": [{"path": "artifacts/m_int8.tflite", "sha256": "file", "bytes": 20}],
        "benchmark": {
            "rows": [
                {"artifact": f"{file} on {device}", "label": file, "sha256": file, "bytes": 20,
                 "device": device, "median_ms": ms, "timing_valid": real, "runs": 9,
                 "ci95_ms": [ms, ms], "samples_ms": [ms] * 9}
                for file, device, ms, real in rows
            ]
        },
    }  # fmt: skip


def shown(run: dict[str, Any]) -> list[str]:
    """The page's text, without the marks of its markup, and the Markdown."""
    page = html.unescape(re.sub(r"<[^>]+>", " ", render_html([("run", run)])))
    return [page.partition("</style>")[2] or page, render_markdown([("run", run)])]


def test_a_time_on_one_device_is_not_the_before_of_another() -> None:
    run = measured(
        ("first", "mcu:tflm", 1.755, False),
        ("second", "mcu:tflm", 1.0, False),
        ("file", "mcu:ethos-u55-128", 0.05, False),
    )
    for text in shown(run):
        assert "faster" not in text
        assert "latency on mcu:ethos-u55-128" in text
        assert NOT_REAL in text
    card = next(line for line in shown(run)[1].splitlines() if "latency on mcu" in line)
    assert "1.75" not in card
    assert NOT_REAL in card


def test_an_estimate_is_marked_wherever_it_stands() -> None:
    run = measured(("first", "mcu:tflm", 1.7, False), ("file", "mcu:tflm", 1.2, False))
    page, markdown = render_html([("run", run)]), render_markdown([("run", run)])
    rows = [*markdown.splitlines(), *re.findall("<tr>.*?</tr>", page, re.DOTALL)]
    timed = [row for row in rows if re.search(r"\d ms", row)]
    assert len(timed) >= 8
    assert all(NOT_REAL in row for row in timed)
    assert any(NOT_REAL in card for card in re.findall('class="card".*?</div>', page, re.DOTALL))
    # In the plots the words stand on two lines.
    assert page.partition("<svg")[2].count("estimated or emulated,") >= 2


def test_a_change_within_the_noise_is_called_the_same() -> None:
    run = measured(("first", "local", 1.0, True), ("second", "local", 0.98, True),
                   ("file", "local", 1.01, True))  # fmt: skip
    run["benchmark"]["device"] = {"name": "local", "smallest_difference": 0.05}
    for text in shown(run):
        assert text.count("same") >= 2
        assert "faster" not in text
        assert "−2.0 %" not in text


def test_the_smallest_file_that_was_really_timed_is_the_best() -> None:
    run = measured(("first", "local", 1.0, True), ("file", "local", 0.5, True))
    assert "2.00× faster" in shown(run)[1]
    assert RunRecord.model_validate(run).judged is None
