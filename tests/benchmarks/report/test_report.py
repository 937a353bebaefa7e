"""Reports: whole, safe, and robust against what a run doesn't have."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_records import a_bench, a_run

from edgepress.benchmarks.glossary import GLOSSARY
from edgepress.benchmarks.history import find_earlier
from edgepress.benchmarks.number_format import (
    bytes_text,
    change_text,
    metric_change,
    metric_text,
    ms_text,
    significant,
)
from edgepress.benchmarks.records import run_record
from edgepress.benchmarks.report import RENDERERS, report
from edgepress.benchmarks.report.html import render_html
from edgepress.benchmarks.report.markdown import grids, render_markdown, terminal_tables
from edgepress.compress.errors import InputError


class _Page(HTMLParser):
    """Collects what a page refers to, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.ids: list[str] = []
        self.sections: list[str] = []
        self.scripts = 0
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        ids = [v or "" for k, v in attrs if k == "id"]
        self.ids += ids
        self.sections += ids if tag in ("h2", "h3") else []
        self.references += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_tells_the_whole_run() -> None:
    page = _Page(render_html([("run", a_run())]))
    for words in ("net.keras", "accepted", "87.00 %", "−3.00 points", "4.50× smaller", "half gone",
                  "there is no such thing", "differences below 1.0 %", "machine was busy",
                  "it crashed", "CONV_2D", "inputs look unscaled", "2.50× faster"):  # fmt: skip
        assert words in page.text, words


def test_the_page_needs_nothing_from_outside() -> None:
    page = _Page(render_html([("run", a_run())]))
    assert page.scripts == 1  # its own, which sorts tables
    assert all(reference.startswith("#") for reference in page.references)
    assert all(reference[1:] in page.ids for reference in page.references)


def test_headings_come_in_order_and_every_plot_says_what_it_shows() -> None:
    for runs in ([("run", a_run())], [("one", a_run()), ("two", a_run())]):
        text = render_html(runs)
        levels = [int(level) for level in re.findall(r"<h([1-6])", text)]
        assert levels[0] == 1
        assert max(b - a for a, b in pairwise(levels)) == 1
        assert len(set(sections := _Page(text).sections)) == len(sections)
        assert text.count("<svg") == text.count('role="img"') == text.count("<desc>")


def test_files_are_linked_from_where_the_page_lies(tmp_path: Path) -> None:
    folder = tmp_path / "my run"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(a_run()))
    for page, link in ((folder / "r.html", ""), (tmp_path / "out" / "r.html", "../my%20run/")):
        page.parent.mkdir(exist_ok=True)
        found = _Page(report([folder], page).read_text()).references
        assert f"{link}artifacts/net_int8.tflite" in found


def test_layers_stand_beside_themselves() -> None:
    run = a_run()
    assert "<small>from 1.00 M" not in render_html([("run", run)])
    conv = {"name": "conv", "type": "Conv2D", "params": 100, "macs": 10**6, "activation_bytes": 64}
    gone = {"name": "gone", "type": "Dense", "params": 7, "macs": 7, "activation_bytes": 4}
    run["stages"][0]["layers"] = [conv, gone, {**gone, "name": "relu", "params": 0, "macs": 0}]
    run["stages"][1]["layers"] = [{**conv, "macs": 5 * 10**5}]
    text = render_html([("run", run)])
    assert "500 k<small>from 1.00 M</small>" in text
    assert text.count(">gone<") == 4
    assert "relu" not in text


def test_the_page_says_when_how_and_from_what_it_was_made(tmp_path: Path) -> None:
    run = {**a_run(), "date": "2026-01-02T03:04:05+00:00", "command": "edgepress compress m.keras",
           "commit": "abc123", "recipe": {"data": {"spec": "photos"}}}  # fmt: skip
    text = _Page(render_html([("run", run)])).text
    for words in ("2026-01-02 03:04:05 UTC", "edgepress compress m.keras", "abc123", "photos"):
        assert words in text
    told = {**a_bench(), "command": "edgepress benchmark f.tflite"}
    (tmp_path / "b.json").write_text(json.dumps(told))
    page = report([tmp_path / "b.json"], tmp_path / "b.html").read_text()
    assert "edgepress benchmark f.tflite" in page


def test_columns_are_explained_on_the_page() -> None:
    text = render_html([("run", a_run())])
    assert f'title="{GLOSSARY["agreement"].text}"' in text
    assert "What the columns mean" in text


def test_pictures_take_the_colours_of_the_page() -> None:
    text = render_html([("run", a_run())])
    assert text.count("<svg") == 4
    assert "var(--c0)" in text
    assert not any(colour in text for colour in ("#010203", "#020304", "#0a0b00", "#000000"))


@pytest.mark.parametrize("part", sorted(a_run()))
def test_any_part_may_be_missing(part: str) -> None:
    run = a_run()
    del run[part]
    assert "<h1>" in render_html([("run", run)])
    assert render_markdown([("run", run)])


def test_an_empty_run_is_still_a_page() -> None:
    assert "edgepress" in render_html([("run", {})])


def test_names_cannot_smuggle_markup() -> None:
    run = a_run()
    run["model"] = "<script>alert(1)</script>.keras"
    run["benchmark"]["rows"][0]["label"] = "<script>alert(2)</script>"
    assert _Page(render_html([("<script>", run)])).scripts == 1


def test_emulated_times_are_marked_and_never_praised() -> None:
    run = a_run()
    for row in run["benchmark"]["rows"]:
        row["timing_valid"] = False
    text = _Page(render_html([("run", run)])).text
    assert "not a real time" in text
    assert "faster" not in text


def test_several_runs_share_a_page(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(a_run()))
    out = report([tmp_path / "one", tmp_path / "two"], tmp_path / "all.html")
    text = _Page(out.read_text()).text
    assert "2 runs compared" in text
    assert "one" in text
    assert "two" in text


def test_every_format_renders(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(a_run()))
    for ending in RENDERERS:
        assert report([tmp_path], tmp_path / f"r{ending}").stat().st_size > 100
    tables = terminal_tables(a_run())
    assert tables


def test_what_is_no_run_is_refused_and_nothing_written(tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    with pytest.raises(InputError, match="not a RUN folder"):
        report([tmp_path], out)
    with pytest.raises(InputError, match=r"unknown report format '\.pdf'"):
        report([tmp_path], tmp_path / "r.pdf")
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(InputError, match="not the record"):
        report([tmp_path], out)
    assert not out.exists()
    out.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        report([tmp_path], out, force=False)


def test_the_page_of_a_benchmark_tells_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(json.dumps(a_bench()))
    page = report([tmp_path / "b.json"], tmp_path / "b.html").read_text()
    text = _Page(page).text
    for words in ("Benchmark of 2 files on local, npu", "1 regression against run 7 (main)",
                  "94.00 %", "44.50 %", "198 of 400 were lost", "within the noise", "same",
                  "not compared", "old.tflite isn't measured today", "87.00 %", "0.2500",
                  "0.500 mJ", "estimated: not a real time", "half on the CPU", "it crashed",
                  "same (no difference shown)", "CONV_2D", "machine was busy"):  # fmt: skip
        assert words in text, words
    plain = report([tmp_path / "b.json"], tmp_path / "b.md").read_text()
    assert "| latency |" in plain
    assert "estimated: not a real time" in plain


def outputs(
    small: float, large: float, before: tuple[float | None, float | None] = (None, None)
) -> list[dict[str, Any]]:
    return [
        {"output": "small", "metric": "accuracy", "value": small, "headline": True,
         "source_value": before[0]},
        {"output": "large", "metric": "mae", "value": large, "headline": False,
         "source_value": before[1]},
    ]  # fmt: skip


def test_each_output_has_its_row_in_every_report_of_a_run() -> None:
    run = a_run()
    run["stages"][1]["metrics"] = outputs(0.625, 2477.0, (0.75, 2064.0))
    run["artifacts"][0]["verified"]["metrics"] = outputs(0.5, 3096.0, (0.625, 2477.0))
    tables = {title: grid for title, grid in grids(run_record(run))}
    rows = {(row[0], row[2]): row for row in tables["Metrics by output"].rows}
    pruned, file = "01-prune", "net_int8.tflite"
    assert rows["small *", pruned][3:] == ("75.00 %", "62.50 %", "−12.50 points")
    assert rows["large", file] == ("large", "mae", file, "2 477", "3 096", "+25.0 %")
    assert len(rows) == 4
    for text in (_Page(render_html([("run", run)])).text, render_markdown([("run", run)])):
        assert all(cell in text for row in rows.values() for cell in row)
    run["stages"][1]["metrics"] = run["artifacts"][0]["verified"]["metrics"] = outputs(1, 1)[:1]
    assert "Metrics by output" not in render_html([("run", run)])


def test_each_output_has_its_row_in_every_report_of_a_benchmark(tmp_path: Path) -> None:
    told = a_bench()
    told["rows"][0]["metrics"] = outputs(0.625, 2477.0)
    (tmp_path / "b.json").write_text(json.dumps(told))
    plain = report([tmp_path / "b.json"], tmp_path / "b.md").read_text()
    assert "| small * | accuracy | net_int8.tflite · local | 62.50 % |" in plain
    assert "| large | mae | net_int8.tflite · local | 2 477 |" in plain
    assert "| box | mae | model.tflite · npu | 0.2500 |" in plain
    page = _Page(report([tmp_path / "b.json"], tmp_path / "b.html").read_text()).text
    assert all(words in page for words in ("Metrics by output", "small *", "2 477", "box"))


def test_an_estimated_time_stands_nowhere_without_its_mark(tmp_path: Path) -> None:
    told = a_bench()
    told["rows"] = [told["rows"][1]]
    (tmp_path / "b.json").write_text(json.dumps(told))
    text = report([tmp_path / "b.json"], tmp_path / "b.html").read_text()
    cells = [cell for cell in text.split("<td") if "500 µs" in cell]
    assert cells
    assert all("estimated: not a real time" in cell for cell in cells)
    assert "every measured inference" not in text


@pytest.mark.parametrize("part", sorted(set(a_bench()) - {"rows"}))
def test_any_part_of_a_benchmark_may_be_missing(part: str, tmp_path: Path) -> None:
    told = a_bench()
    del told[part]
    (tmp_path / "b.json").write_text(json.dumps(told))
    assert "net_int8" in report([tmp_path / "b.json"], tmp_path / "b.html").read_text()


def test_runs_and_benchmarks_share_a_page(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text(json.dumps(a_run()))
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps(a_bench()))
    inputs = [tmp_path / name for name in ("a.json", "run", "b.json")]
    for ending in RENDERERS:
        text = report(inputs, tmp_path / f"all{ending}").read_text()
        assert all(name in text for name in ("a.json", "b.json", "run"))
    assert "3 runs compared" in (tmp_path / "all.html").read_text()


@pytest.mark.parametrize("other", [{}, {"rows": "no"}, {"rows": [{}]}, {"before": {}}, [], 3])
def test_other_json_is_refused(other: Any, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(other))
    with pytest.raises(InputError, match="not the record of a run, nor a benchmark"):
        report([tmp_path / "x.json"], tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize("value", [[0.9], {"a": 1}, "0.9"])
def test_figures_of_trials_that_are_no_numbers_are_refused(value: Any, tmp_path: Path) -> None:
    trial = {"number": 0, "folder": "trials/0000", "figures": {"value": value}}
    told = {"metric": "accuracy", "trials": [trial], "front": [0], "objectives": ["metric"]}
    file = tmp_path / "search.json"
    file.write_text(json.dumps(told))
    with pytest.raises(InputError, match=r"search\.json' can't be read: .*figure 'value'"):
        report([file], tmp_path / "x.html")


DAMAGES: list[tuple[Any, ...]] = [
    ("rows", 0, "median_ms"), ("rows", 0, "ci95_ms"), ("rows", 0, "notes"), ("rows", 1, "outcomes"),
    ("rows", 1, "outcomes", 0), ("devices",), ("devices", 0), ("changes",), ("changes", 0),
    ("changes", 0, "before"), ("against",), ("against", "notes"), ("failures",), ("comparisons",),
]  # fmt: skip


@pytest.mark.parametrize("place", DAMAGES, ids=lambda place: ".".join(map(str, place)))
def test_a_damaged_benchmark_is_refused_by_name(place: tuple[Any, ...], tmp_path: Path) -> None:
    told = a_bench()
    holder: Any = told
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = 3 if place[-1] != "before" else "x"
    if place[-1] == "median_ms":
        holder[place[-1]] = "x"
    file = tmp_path / "x.json"
    file.write_text(json.dumps(told))
    for read in (find_earlier, lambda path: report([path], tmp_path / "x.html")):
        with pytest.raises(InputError, match=rf"x\.json' can't be read: {place[0]}"):
            read(file)


def test_a_benchmark_that_measured_nothing_is_refused_unless_it_says_why(tmp_path: Path) -> None:
    told = a_bench() | {"rows": []}
    file = tmp_path / "x.json"
    file.write_text(json.dumps(told))
    assert "it crashed" in report([file], tmp_path / "x.html").read_text()
    file.write_text(json.dumps(told | {"failures": []}))
    for read in (find_earlier, lambda path: report([path], tmp_path / "y.html")):
        with pytest.raises(InputError, match="holds no row of a benchmark"):
            read(file)


@given(st.floats(1e-4, 1e6))
def test_three_digits_are_kept(value: float) -> None:
    told = float(significant(value).replace(" ", "").replace(" ", ""))
    assert told == pytest.approx(value, rel=0.006)


def test_numbers_read_as_people_write_them() -> None:
    assert bytes_text(318144) == "318 kB"
    assert bytes_text(None) == "–"
    assert ms_text(0.0296) == "29.6 µs"
    assert ms_text(12.34) == "12.3 ms"
    assert metric_text("accuracy", 0.8719) == "87.19 %"
    assert metric_text("mae", 0.012345) == "0.01235"
    assert change_text(100, 50) == "−50.0 %"
    assert metric_change("accuracy", 0.9, 0.88) == "−2.00 points"
    assert metric_change("mse", 2.0, 3.0) == "+50.0 %"
    assert metric_change("cer:0", 2.0, 3.0) == "+50.0 %"
    # Of a score that may be near 0, or below it, a share says nothing.
    assert metric_change("r2", -255.4, -230.2) == "+25.2"
    assert metric_change("map50:mine.py:decode", 0.0006, 0.788) == "+0.787"
    assert metric_change("psnr", 30.0, 29.0) == "−1.00"
    assert metric_change("ssim", 0.5, 0.5) == "±0"
