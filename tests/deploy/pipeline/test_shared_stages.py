"""Runs with the same inputs share a stage; what was changed since is never taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepress.deploy.pipeline.run_folder import RunFolder

NAME, KEY = "00-source", "a" * 64


def finished(folder: RunFolder, text: str = "weights") -> None:
    with folder.writing(NAME, KEY) as (stage, result):
        (stage / "model.keras").write_text(text)
        result.update({"name": NAME, "kind": "source", "title": "load"})
    folder.share(NAME, KEY)


@pytest.fixture
def runs(tmp_path: Path) -> tuple[RunFolder, RunFolder]:
    return tuple(RunFolder(tmp_path / n, shared=tmp_path / "shared") for n in "ab")  # type: ignore[return-value]


def test_a_stage_of_the_same_inputs_is_taken(runs: tuple[RunFolder, RunFolder]) -> None:
    one, other = runs
    assert other.finished_stage(NAME, KEY) is None
    finished(one)
    record = other.finished_stage(NAME, KEY)
    assert record is not None
    assert record.key == KEY
    assert (other.stage(NAME) / "model.keras").read_text() == "weights"
    assert other.finished_stage(NAME, "b" * 64) is None
    # Making it again leaves the other run's files as they are.
    finished(one, "others")
    assert (other.stage(NAME) / "model.keras").read_text() == "weights"


def test_a_changed_stage_is_not_taken(runs: tuple[RunFolder, RunFolder]) -> None:
    one, other = runs
    finished(one)
    assert one.shared is not None
    (file,) = one.shared.glob("*/model.keras")
    file.unlink()
    file.write_text("changed")
    assert other.finished_stage(NAME, KEY) is None
    assert not other.stage(NAME).exists()


def test_without_a_shared_folder_runs_keep_to_themselves(tmp_path: Path) -> None:
    one, other = RunFolder(tmp_path / "a"), RunFolder(tmp_path / "b")
    finished(one)
    assert other.finished_stage(NAME, KEY) is None
    assert {p.name for p in tmp_path.iterdir()} == {"a"}
