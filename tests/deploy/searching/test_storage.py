"""Workers that share a database run each trial once, and again where its worker died."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from edgepress.compress.errors import InputError
from edgepress.compress.specs.construction import make_spec
from edgepress.deploy.cli.main import cli
from edgepress.deploy.searching.running import database as databases
from edgepress.deploy.searching.running.database import (
    Database,
    begin,
    join,
    own_heartbeats,
    without_password,
)
from edgepress.deploy.searching.running.queues import SharedQueue
from edgepress.deploy.searching.space import SearchRecipe
from edgepress.deploy.searching.study import counted, draw, record
from edgepress.deploy.searching.trial import Outcome

pytest.importorskip("optuna")
GOALS = ("maximize", "minimize")
LINE: dict[str, Any] = {
    "model": "m.keras",
    "data": "d.npz",
    "prune": [{"structure": "channels", "target_macs": 0.5}],
    "search": {
        "space": {"prune.0.target_macs": {"low": 0.2, "high": 0.9}},
        "objectives": ["metric", "macs"],
    },
}


def recipe(**changes: Any) -> SearchRecipe:
    return make_spec(SearchRecipe, {**LINE, **changes})


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'trials.db'}"


def begun(folder: Path, trials: int = 5, resume: bool = False, **changes: Any) -> Database:
    return begin(url(folder), "lab", recipe(**changes), GOALS, folder / "run", trials, resume)


def finish(database: Database, number: int) -> None:
    record(database.study, number, Outcome((0.5, 1.0), True, "", "m.tflite", {}, "0"))


def queue(database: Database) -> SharedQueue:
    return SharedQueue(database, recipe(), 1)


def forget_heartbeats(folder: Path, minutes: int = 10) -> None:
    """Let every trial that runs look as if nobody had told of it for some minutes."""
    with sqlite3.connect(folder / "trials.db") as rows:
        rows.execute(
            f"UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-{minutes} minutes')"
        )


def test_workers_take_each_trial_once_and_no_more_than_there_are_to_be(tmp_path: Path) -> None:
    head = begun(tmp_path)
    other = join(url(tmp_path), None)
    assert other.recipe == recipe()
    assert other.folder == tmp_path / "run"
    queues = [(head, queue(head)), (other, queue(other))]
    taken = []
    while any(q.waiting for _, q in queues):
        for database, q in queues:
            if (ticket := q.take()) is not None:
                taken.append(ticket)
                finish(database, ticket[0])
    assert [number for number, _ in taken] == list(range(5))
    assert taken[0][1] == {"prune.0.target_macs": 0.5}
    assert len({share for _, values in taken for share in values.values()}) == 5
    assert not any(q.open for _, q in queues)


def test_of_two_that_draw_the_last_trial_one_gives_it_back(tmp_path: Path) -> None:
    one, other = begun(tmp_path, trials=1), join(url(tmp_path), "lab")
    with own_heartbeats():
        numbers = [draw(database.study, recipe(), 1)[0] for database in (one, other)]
    assert [db.claim(n) for db, n in zip((one, other), numbers, strict=True)] == [True, False]
    assert [trial.number for trial in counted(one.study)] == [0]


def test_a_trial_whose_worker_died_is_tried_again(tmp_path: Path) -> None:
    dead, alive = begun(tmp_path, trials=2), join(url(tmp_path), None)
    lost, kept = queue(dead).take(), queue(alive).take()
    assert lost is not None
    assert kept is not None
    finish(alive, kept[0])
    left = queue(alive)
    # It runs elsewhere, as far as anyone knows: there is nothing to begin, but to wait for.
    assert (left.waiting, left.open, left.take()) == (0, True, None)
    forget_heartbeats(tmp_path)
    again = queue(alive).take()
    assert again is not None
    assert again[1] == lost[1]
    assert again[0] != lost[0]
    finish(alive, again[0])
    assert not queue(alive).open
    assert {trial.number for trial in counted(alive.study)} == {kept[0], again[0]}


def test_a_study_goes_on_with_its_own_recipe_alone(tmp_path: Path) -> None:
    begun(tmp_path)
    with pytest.raises(InputError, match="already holds a study 'lab'"):
        begun(tmp_path)
    with pytest.raises(InputError, match="made for another recipe"):
        begun(tmp_path, resume=True, seed=3)
    assert begun(tmp_path, trials=9, resume=True).trials == 9
    with pytest.raises(InputError, match="holds no study 'other' to resume"):
        begin(url(tmp_path), "other", recipe(), GOALS, tmp_path, 1, resume=True)
    with pytest.raises(InputError, match="no study of a search called 'other'"):
        join(url(tmp_path), "other")
    begin(url(tmp_path), "two", recipe(), GOALS, tmp_path, 1, resume=False)
    with pytest.raises(InputError, match="2 studies of a search"):
        join(url(tmp_path), None)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--storage", "postgresql+psycopg://me:secret@127.0.0.1:1/lab"], "can't be used"),
        (["--storage", "lab.db"], "sqlite:///FILE"),
        (["--storage", "sqlite:////nowhere/at/all/x.db"], "can't be used"),
        (["--storage", "sqlite:///x.db", "--seed", "3"], "--seed"),
        ([], "--storage"),
    ],
)
def test_a_database_that_can_not_be_used_is_one_line_without_its_password(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["search-worker", *words])
    assert result.exit_code == 2
    assert told in result.stderr
    assert "secret" not in result.stderr
    assert "Traceback" not in result.stderr


def test_passwords_are_left_out() -> None:
    assert without_password("postgresql://me:p:w@host/db") == "postgresql://me@host/db"
    assert without_password("sqlite:///a/b.db") == "sqlite:///a/b.db"


# A worker whose silence is noticed sooner, and that tells which trial it begins.
_QUICK = """
import pathlib, sys
from edgepress.deploy.searching.running import database, driver, queues
database.HEARTBEAT_S, database._GRACE_S, queues._BEAT_S = 1, 8, 0.5
start = driver.start
def told(recipe, folder, threads):
    pathlib.Path(sys.argv[2]).write_text(folder.name)
    return start(recipe, folder, threads)
driver.start = told
from edgepress.deploy import search_worker
search_worker(sys.argv[1])
"""


@pytest.mark.slow
def test_two_workers_finish_a_search_though_one_is_killed(
    tmp_path: Path, digits_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "HEARTBEAT_S", 1)
    monkeypatch.setattr(databases, "_GRACE_S", 8)
    monkeypatch.setattr("edgepress.deploy.searching.running.queues._BEAT_S", 0.5)
    path, run = tmp_path / "recipe.yaml", tmp_path / "run"
    line = {
        **LINE,
        "model": str(digits_model),
        "data": {"spec": "edgepress.deploy.demo:digits", "scale": "1/16"},
        "export": {"formats": ["tflite"], "quantize": ["float32"]},
        "benchmark": {"runs": 5, "launches": 1},
    }
    path.write_text(yaml.safe_dump(line))
    killed, its = [], tmp_path / "its"

    def work_and_die() -> None:
        while not (run / "trials").is_dir():
            time.sleep(0.2)
        worker = subprocess.Popen([sys.executable, "-c", _QUICK, url(tmp_path), str(its)])
        while not its.is_file() and worker.poll() is None:
            time.sleep(0.2)
        os.kill(worker.pid, signal.SIGKILL)
        killed.append(worker.wait())

    thread = threading.Thread(target=work_and_die)
    thread.start()
    words = ["search", str(path), "-o", str(run), "--storage", url(tmp_path), "--trials", "5"]
    done = CliRunner().invoke(cli, [*words, "--json"])
    thread.join()
    assert done.exit_code == 0, done.stderr
    assert killed == [-signal.SIGKILL]
    found = yaml.safe_load(done.stdout)
    assert len(found["trials"]) == 5
    assert all(trial["accepted"] for trial in found["trials"])
    # Its trial was tried again, with a number of its own.
    numbers = {trial["number"] for trial in found["trials"]}
    assert int(its.read_text()) not in numbers
    assert max(numbers) == 5
    assert found["front"]
