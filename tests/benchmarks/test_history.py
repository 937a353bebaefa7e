"""Results over time."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepress.benchmarks.history import changes, earlier, keep, recall
from edgepress.benchmarks.report.ci import render_github, render_junit
from edgepress.compress.errors import InputError


def document(median: float = 1.0, size: int = 1000, **row: Any) -> dict[str, Any]:
    return {
        "device": {"name": "local", "smallest_difference": 0.02},
        "rows": [
            {"artifact": "/x/net.tflite", "label": "net.tflite", "device": "local", "threads": 1,
             "batch": 1, "runs": 50, "median_ms": median, "bytes": size, "arena_bytes": 64,
             "ci95_ms": [0.99 * median, 1.01 * median], "timing_valid": True, **row}
        ],
        "failures": [],
    }  # fmt: skip


def _verdicts(before: dict[str, Any], after: dict[str, Any]) -> dict[str, str]:
    return {change.quantity: change.verdict for change in changes(before, after)}


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    assert keep(file, document(1.0), "first") == 1
    assert keep(file, document(2.0)) == 2
    assert recall(file) == document(2.0)
    assert recall(file, "first") == recall(file, "1") == document(1.0)
    assert earlier(file) == document(2.0)
    assert earlier(tmp_path / "history.db@first") == document(1.0)
    with pytest.raises(InputError, match="no run 'third'"):
        earlier(tmp_path / "history.db@third")
    (tmp_path / "b.json").write_text(json.dumps(document()))
    with pytest.raises(InputError, match="is no history"):
        earlier(tmp_path / "b.json@first")
    with pytest.raises(InputError, match="no run 'third'"):
        recall(file, "third")


@pytest.mark.parametrize("table", ["mine (x)", "runs (id, document)"])
def test_a_database_of_another_program_stays_as_it_is(table: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.db"
    with closing(sqlite3.connect(file)) as database:
        database.executescript(f"CREATE TABLE {table}")
    before = file.read_bytes()
    with pytest.raises(InputError, match="is a database of something else"):
        keep(file, document())
    assert file.read_bytes() == before


@pytest.mark.parametrize("text", ["{", "[]", "[" * 9000, '{"rows": [{}]}', '{"rows": []}'])
def test_a_history_that_was_edited_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    keep(file, document())
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE runs SET document = ?", (text,))
    with pytest.raises(InputError, match=r"run 1 of .*history\.db"):
        recall(file)


def test_a_history_that_the_disk_refuses_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(file: Path, **_: Any) -> None:
        file.touch()
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(InputError, match="disk is full"):
        keep(tmp_path / "history.db", document())
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_and_a_json_file_can_be_compared_with(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"benchmark": document()}))
    (tmp_path / "b.json").write_text(json.dumps(document()))
    assert earlier(tmp_path) == earlier(tmp_path / "b.json") == document()
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match="holds no benchmark"):
        earlier(tmp_path)
    (tmp_path / "bad.db").write_bytes(b"SQLite format 3\0 and then nonsense")
    with pytest.raises(InputError, match=r"bad\.db"):
        earlier(tmp_path / "bad.db")


def test_slower_beyond_noise_is_a_regression() -> None:
    assert _verdicts(document(1.0), document(1.2))["latency"] == "regression"
    assert _verdicts(document(1.2), document(1.0))["latency"] == "improvement"
    assert _verdicts(document(1.0), document(1.025))["latency"] == "same"
    noisy = document(1.2, ci95_ms=[0.9, 1.4])
    assert _verdicts(document(1.0), noisy)["latency"] == "same"


def test_sizes_are_exact() -> None:
    assert _verdicts(document(size=1000), document(size=1100))["size"] == "regression"
    assert _verdicts(document(size=1000), document(size=900))["size"] == "improvement"
    assert _verdicts(document(), document())["size"] == "same"


def test_an_emulator_has_no_regressions_of_time() -> None:
    emulated = document(9.0, timing_valid=False)
    assert _verdicts(document(1.0), emulated)["latency"] == "not compared"
    assert "latency" not in _verdicts(document(1.0, timing_valid=False), emulated)


@pytest.mark.parametrize(
    "row",
    [{"threads": 4}, {"xnnpack": False}, {"delegates": ["d.so"]}, {"providers": ["XProvider"]}],
)
def test_only_the_same_is_compared(row: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="none of these"):
        changes(document(), document(**row))
    assert changes(document(**row), document(**row))


@given(st.floats(0.001, 1000), st.floats(0.001, 1000))
def test_the_verdict_is_the_opposite_the_other_way_round(a: float, b: float) -> None:
    opposite = {"regression": "improvement", "improvement": "regression", "same": "same"}
    forth = _verdicts(document(a), document(b))["latency"]
    back = _verdicts(document(b), document(a))["latency"]
    # A ratio of 1.031 is beyond 3 % one way, 0.970 within it the other way.
    if abs(a / b - 1) > 0.035:
        assert back == opposite[forth]


def test_ci_servers_take_no_emulated_time_for_a_real_one() -> None:
    real = ElementTree.fromstring(render_junit(document(2.0)))[0]
    assert real.get("time") == "0.002000000"
    told = document(2.0, timing_valid=False, method="Vela's performance model")
    case = ElementTree.fromstring(render_junit(told))[0]
    assert case.get("time") is None
    assert case.findtext("system-out") == "2 ms, estimated: not a real time"


def test_ci_servers_read_it() -> None:
    told = document(1.2)
    told["failures"] = [{"device": "pi", "artifact": "", "reason": "is not there"}]
    suite = ElementTree.fromstring(render_junit(told, changes(document(1.0), told)))
    assert suite.get("failures") == "2"
    messages = [f.get("message") for f in suite.iter("failure")]
    assert messages[0] == "is not there"
    assert "+20.0%" in str(messages[1])
    entries = json.loads(render_github(told))
    assert {entry["unit"] for entry in entries} == {"ms", "bytes"}
    assert all(isinstance(entry["value"], int | float) for entry in entries)
