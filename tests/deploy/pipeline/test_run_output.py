"""A run's folder: nothing else is replaced by it, one process writes in it, its recipe stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepress.benchmarks.records import ExportRecord
from edgepress.compress.errors import InputError
from edgepress.deploy.pipeline.opening import NothingDone, check_run_output, opened_run
from edgepress.deploy.pipeline.pipeline import run
from edgepress.deploy.pipeline.run_folder import RunFolder
from edgepress.deploy.recipe import Recipe, read_recipe

RECIPE = Recipe.model_validate({"model": "m.keras", "data": "d.npz"})


def finish(path: Path, text: str = "first", force: bool = False) -> None:
    """A run with one stage, as the pipeline writes it."""
    with opened_run(path, resume=False, force=force) as folder:
        folder.write_recipe(RECIPE)
        stage(folder, text)
        folder.list_files()


def stage(folder: RunFolder, text: str) -> None:
    with folder.writing("00-source", "key") as (inside, _):
        (inside / "model.keras").write_text(text)


def model_of(path: Path) -> str:
    return (path / "stages" / "00-source" / "model.keras").read_text()


def test_a_run_replaces_an_earlier_one_only_when_asked_and_only_when_whole(tmp_path: Path) -> None:
    run = tmp_path / "run"
    finish(run)
    with pytest.raises(InputError, match="--force"):
        check_run_output(run, force=False)
    with opened_run(run, resume=False, force=True) as folder:
        stage(folder, "second")
        (aside,) = tmp_path.glob(".run.*.old")
        assert model_of(aside) == "first"
    assert model_of(run) == "second"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_run_that_does_nothing_gives_the_earlier_one_back(
    tmp_path: Path, error: type[BaseException]
) -> None:
    run = tmp_path / "run"
    finish(run)

    def fail() -> None:
        with opened_run(run, resume=False, force=True) as folder:
            folder.write_recipe(RECIPE)
            raise error

    with pytest.raises(NothingDone if error is KeyboardInterrupt else error):
        fail()
    assert model_of(run) == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_stopped_run_keeps_the_earlier_one_until_it_is_finished(tmp_path: Path) -> None:
    run = tmp_path / "run"
    finish(run)

    def stop() -> None:
        with opened_run(run, resume=False, force=True) as folder:
            folder.write_recipe(RECIPE)
            stage(folder, "second")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert len([*tmp_path.glob(".run.*.old")]) == 1
    with opened_run(run, resume=True, force=False):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert model_of(run) == "second"


@pytest.mark.parametrize(
    "place",
    [
        "notes.txt",
        "stages/00-source/notes.txt",
        "artifacts/mine",
        # Names as a run's own, but where it has none.
        "2024.yaml",
        "stages/0001.log",
        "study.journal.backup",
        ".mine.state/training.npz",
        "stages/.01-prune.state/mine.npz",
        ".stages/mine",
    ],
)
def test_a_run_with_somebody_elses_file_stays(tmp_path: Path, place: str) -> None:
    run = tmp_path / "run"
    finish(run)
    (run / place).parent.mkdir(parents=True, exist_ok=True)
    (run / place).write_text("mine")
    for force in (False, True):
        with pytest.raises(InputError, match=place.rpartition("/")[2]):
            check_run_output(run, force)
    (run / place).unlink()
    if not any((run / place).parent.iterdir()):
        (run / place).parent.rmdir()
    check_run_output(run, force=True)


@pytest.mark.parametrize("name", ["mine", "artifacts", "stages/mine", "stages/.mine", "0001"])
def test_a_run_with_somebody_elses_empty_folder_stays(tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    finish(run)
    (run / name).mkdir()
    with pytest.raises(InputError, match=name):
        check_run_output(run, force=True)


def test_a_link_is_no_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    finish(run)
    (run / "stages" / ".01-prune.state").symlink_to(tmp_path)
    with pytest.raises(InputError, match="is a link"):
        check_run_output(run, force=True)


def test_checkpoints_and_what_a_kill_left_are_a_runs_own(tmp_path: Path) -> None:
    run = tmp_path / "run"
    finish(run)
    for trial in (".", "trials/0003"):
        inside = RunFolder(run / trial).state("01-prune") / "recover-1"
        inside.mkdir(parents=True)
        (run / trial / ".onednn.state").write_text("SIGSEGV")
        check_run_output(run, force=True)  # killed before the first state was written
        (inside / "training.npz").write_text("half")
        (inside.parent / "start.npz").write_text("half")
    (run / ".stages").mkdir()
    (run / "picks").mkdir()
    for name in ("0003.yaml", "0003.log"):
        (run / "trials" / name).write_text("half")
    (run / "study.journal").write_text("{")
    (run / "study.journal.lock").symlink_to(run / "study.journal")
    (run / ".run.edgepress-0123abcd.json").write_text("{")
    check_run_output(run, force=True)


def test_no_run_is_written_over_what_it_reads(tmp_path: Path) -> None:
    (tmp_path / "m.keras").write_text("mine")
    with pytest.raises(InputError, match=r"the input .*m\.keras"):
        check_run_output(tmp_path, force=True, inputs=[str(tmp_path / "m.keras")])


def test_one_process_at_a_time_has_a_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with opened_run(run, resume=False, force=False) as folder:
        folder.write_recipe(RECIPE)
        for resume, force in ((True, False), (False, True)):
            with (
                pytest.raises(InputError, match="another process is writing"),
                opened_run(run, resume=resume, force=force),
            ):
                pass
        stage(folder, "first")
    assert model_of(run) == "first"


def test_a_recipe_that_was_cut_is_not_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    finish(run)
    written = RunFolder(run).recipe.read_text()
    RunFolder(run).recipe.write_text(written[:40])
    with (
        pytest.raises(InputError, match="not as the run wrote it"),
        opened_run(run, resume=True, force=False),
    ):
        pass
    RunFolder(run).recipe.write_text(written)
    with opened_run(run, resume=True, force=False) as folder:
        before = folder.recipe.stat().st_mtime_ns
        folder.write_recipe(RECIPE)
        assert folder.recipe.stat().st_mtime_ns == before


REPEATED = "\n".join(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 9)}]" for i in range(1, 9))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model: a\ndata: d\nprune: {sparsity: 0.5}\nprune: {sparsity: 0.9}\n", r":4: 'prune'"),
        ("model: a\ndata: d\nprune:\n  - {sparsity: 0.5, sparsity: 0.6}\n", r":4: 'sparsity'"),
        (f"k0: &k0 1\n{REPEATED}\n", "aliases repeat"),
        ("model: &a [*a]\n", "holds itself"),
        ("a: " + "[" * 5000, "nested too deep|not YAML"),
        ("seed: " + "9" * 5000, ":1: a number of 5,000 digits"),
        ("model: m\nseed: 0x" + "f" * 5000, ":2: a number of 5,002 digits"),
        ('model: m\ndata: "\\uD800"', r":2: '.ud800' is half a character"),
        ("model: m\n? 0x" + "f" * 5000 + "\n: 1", ":2: a number of 5,002 digits"),
        ("model: m\nprune: [{sparsity: 1" + ":59" * 5000 + "}]", ":2: a number of 15,001 digits"),
    ],
)
def test_a_recipe_says_each_thing_once_and_in_bounds(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        read_recipe(path)
    assert len(str(caught.value)) < 1000


def test_a_stage_that_was_changed_is_kept_beside_the_one_rebuilt(tmp_path: Path) -> None:
    run = tmp_path / "run"
    finish(run)
    (run / "stages" / "00-source" / "model.keras").write_text("mine")
    stage(RunFolder(run), "again")
    assert model_of(run) == "again"
    (kept,) = (run / "stages").glob(".00-source.before-*")
    assert (kept / "model.keras").read_text() == "mine"


@pytest.mark.slow
def test_a_run_says_what_stands_before_its_files(tmp_path: Path) -> None:
    import keras
    import numpy as np

    words = ["sun", "rain", "snow", "wind"]
    given = keras.Input((1,), dtype="string", name="weather")
    looked_up = keras.layers.StringLookup(vocabulary=words, output_mode="one_hot")(given)
    model = keras.Model(given, keras.layers.Dense(2, activation="softmax")(looked_up))
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "d.npz", x=np.array(words * 20)[:, None], y=np.arange(80) % 2)
    recipe = {"model": str(tmp_path / "m.keras"), "data": str(tmp_path / "d.npz")}
    export = {"formats": ["onnx"], "quantize": ["float32"]}
    result = run(Recipe.model_validate({**recipe, "export": export}), tmp_path / "run")
    told = " ".join(result.contents.warnings)
    assert "can't be in a file" in told
    assert "tables.onnx" in told
    assert (tmp_path / "run" / "artifacts" / "tables.onnx").is_file()


def test_notes_of_one_file_are_apart_from_those_of_all() -> None:
    record = ExportRecord(notes=("model_int8.tflite: larger", "layer 'a' can't be in a file"))
    assert record.on_all == ["layer 'a' can't be in a file"]
