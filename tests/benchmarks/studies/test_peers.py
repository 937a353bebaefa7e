"""The comparison with other tools, in what needs none of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepress.benchmarks.studies.peers.cells import NOT_RUN, Answer, Cell, Cells
from edgepress.benchmarks.studies.peers.environments import NotInstalled, python_of
from edgepress.benchmarks.studies.peers.page import write_page
from edgepress.benchmarks.studies.peers.plan import QUICK
from edgepress.benchmarks.studies.peers.tables import Contest, Row, in_order, summary, table
from edgepress.benchmarks.studies.peers.tools import Tool


class Bench:
    """A tool that counts what it is asked, and may be broken or ended."""

    def __init__(self, folder: Path) -> None:
        self.done: list[str] = []
        self.broken = self.ended = False
        self.version = "1"
        self.left: list[str] = []
        self.cells = Cells(folder, lambda _: self.version, self.work)

    def work(self, cell: Cell, out: Path, before: Mapping[str, str]) -> Answer:
        self.left = sorted(path.name for path in out.iterdir())
        self.done.append(cell.task)
        (out / "model.txt").write_text(cell.task)
        if self.ended:
            raise KeyboardInterrupt
        if self.broken:
            return {"failed": "it broke"}
        return {"read": [Path(p, "model.txt").read_text() for p in before.values()]}


CUT = Cell("one", "cut", "net", {"share": 0.5})
TRAIN = Cell("two", "train", "net", {"epochs": 3}, {"model": CUT})


def test_a_cell_is_done_once_and_reads_the_files_of_those_before(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.cells.answer(TRAIN) == {"read": ["cut"]}
    again = Bench(tmp_path)
    assert again.cells.answer(TRAIN) == {"read": ["cut"]}
    assert again.cells.answer(CUT) == {"read": []}
    assert (bench.done, again.done) == (["cut", "train"], [])


def test_what_was_ended_goes_on_from_its_files(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.ended = True
    with pytest.raises(KeyboardInterrupt):
        bench.cells.answer(CUT)
    assert bench.cells.known(CUT) is None
    bench.ended = False
    bench.cells.answer(TRAIN)
    assert bench.done == ["cut", "cut", "train"]
    bench.cells.answer(CUT)
    assert bench.cells.folder(CUT).joinpath("model.txt").is_file()
    assert not list(tmp_path.glob("*.begun"))


@pytest.mark.parametrize(
    "other",
    [
        Cell("one", "cut", "net", {"share": 0.6}),
        Cell("one", "cut", "other", {"share": 0.5}),
        Cell("two", "cut", "net", {"share": 0.5}),
        Cell("one", "cut", "net", {"share": 0.5}, {"model": TRAIN}),
    ],
)
def test_another_cell_has_another_folder(tmp_path: Path, other: Cell) -> None:
    cells = Bench(tmp_path).cells
    assert cells.folder(CUT) != cells.folder(other)


def test_another_version_is_another_cell_and_so_is_what_follows_from_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.cells.answer(TRAIN)
    bench.version = "2"
    bench.cells.answer(TRAIN)
    assert bench.done == ["cut", "train"] * 2


def test_what_failed_is_tried_once_in_a_run_and_again_in_the_next(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.broken = True
    for _ in range(2):
        assert bench.cells.answer(TRAIN) == {"failed": "it broke"}
    assert bench.done == ["cut"]
    assert "failed" not in Bench(tmp_path).cells.answer(TRAIN)


def test_nothing_is_begun_when_the_time_is_over(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.cells.answer(CUT)
    over = Cells(tmp_path, lambda _: "1", bench.work, lambda: False)
    assert over.answer(TRAIN) == {"failed": NOT_RUN}
    assert over.answer(CUT) == {"read": []}


def test_a_tool_that_cant_be_installed_says_why(tmp_path: Path) -> None:
    tool = Tool("Nothing", (f"{tmp_path}/none-1.0-py3-none-any.whl",), "nothing")
    with pytest.raises(NotInstalled, match="none"):
        python_of(tool, tmp_path)


VALUES = st.lists(st.floats(0.1, 1.0), max_size=3).map(tuple)
ROWS = st.builds(Row, st.sampled_from("abc"), VALUES, st.booleans())
CONTESTS = st.builds(
    lambda rows, higher, title: Contest(title, "accuracy", (), tuple(rows), higher),
    st.lists(ROWS, max_size=5),
    st.booleans(),
    st.text("xyz", min_size=1),
)


@given(st.lists(CONTESTS, max_size=6))
def test_what_is_lost_comes_first(contests: list[Contest]) -> None:
    outcomes = [contest.outcome for contest in in_order(contests)]
    order = ["behind", "level", "ahead", "alone", "missing"]
    assert outcomes == sorted(outcomes, key=order.index)
    losses = [c.lead for c in in_order(contests) if c.outcome == "behind" and c.lead is not None]
    assert losses == sorted(losses)
    assert len(summary(contests).splitlines()) == 2 + len(contests)


@given(CONTESTS)
def test_an_outcome_is_that_of_the_best_rows(contest: Contest) -> None:
    own, others = ([r.mean for r in contest.rows if r.values and r.own is s] for s in (True, False))
    if own and others:
        best = max if contest.higher else min
        gap = (best(own) - best(others)) * (1 if contest.higher else -1)
        assert contest.lead == pytest.approx(gap)
        expected = "level" if abs(gap) <= contest.tie else "ahead" if gap > 0 else "behind"
        assert contest.outcome == expected
    else:
        assert contest.outcome == ("alone" if own else "missing")


def test_a_table_has_the_best_first_all_seeds_and_what_failed_with_its_reason() -> None:
    rows = (
        Row("peer", (0.8, 0.9), cells=("1",)),
        Row("edgepress", (0.95,), True, cells=("2",)),
        Row("absent", (), failed="not installed: no wheel | for this"),
    )
    lines = table(Contest("cut", "accuracy", ("s",), rows)).splitlines()
    assert lines[0] == "### cut: ahead"
    assert lines[4] == "| **edgepress** | 0.9500 | 2 |"
    assert lines[5] == "| peer | 0.8500 (0.8000 0.9000) | 1 |"
    assert "not installed: no wheel / for this" in lines[6]


def test_shares_are_told_where_less_is_better() -> None:
    rows = (Row("edgepress", (90.0,), True), Row("peer", (100.0,)))
    contest = Contest("size", "bytes", (), rows, higher=False, tie=0.01, relative=True, digits=0)
    assert contest.outcome == "ahead"
    assert "+10.0%" in summary([contest])


def test_the_page_has_losses_first_raw_results_and_what_was_not_run(tmp_path: Path) -> None:
    lost = Contest("lost one", "accuracy", (), (Row("edgepress", (0.5,), True), Row("p", (0.6,))))
    won = Contest("won one", "accuracy", (), (Row("edgepress", (0.7,), True), Row("p", (0.6,))))
    later = Contest("later", "accuracy", (), (Row("edgepress", (), True, failed=NOT_RUN),))
    out = tmp_path / "peers.md"
    facts = {"machine": {"cores": 2}, "absent": ["Other (no wheel)"]}
    write_page({"Part": [won, later, lost]}, QUICK, True, facts, out)
    text = out.read_text("utf-8")
    assert text.index("lost one") < text.index("won one")
    assert "1 tables aren't here yet" in text
    assert "later" not in text
    assert "Other (no wheel)" in text
    raw = json.loads((tmp_path / "peers/results.json").read_text("utf-8"))
    assert [c["outcome"] for c in raw["contests"]] == ["ahead", "behind"]
    assert (tmp_path / "peers/leads.svg").is_file()
