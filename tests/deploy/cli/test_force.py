"""`--force` replaces results of edgepress and nothing else."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgepress.compress.kernel.files import adopt
from edgepress.deploy.cli.main import cli


def call(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Dense(2)(inputs)).save(folder / "m.keras")
    (folder / "notes.txt").write_text("mine")
    return folder


def test_export_never_replaces_the_folder_of_its_model(project: Path) -> None:
    for force in ((), ("--force",)):
        done = call("export", project / "m.keras", "-o", project, *force)
        assert done.exit_code == 2
        assert "m.keras" in done.output
        assert "--force" not in done.output
    assert sorted(p.name for p in project.iterdir()) == ["m.keras", "notes.txt"]


def test_an_export_is_replaced_by_the_next_one_unless_something_was_added(
    project: Path, tmp_path: Path
) -> None:
    words = ("export", project / "m.keras", "-o", tmp_path / "out", "--format", "tflite")
    assert call(*words).exit_code == 0
    assert "--force" in call(*words).output
    assert call(*words, "--force").exit_code == 0
    (tmp_path / "out" / "mine.md").write_text("mine")
    refused = call(*words, "--force")
    assert (refused.exit_code, "mine.md" in refused.output) == (2, True)
    assert (tmp_path / "out" / "mine.md").read_text() == "mine"


def test_a_model_replaces_neither_its_source_nor_a_folder(project: Path, tmp_path: Path) -> None:
    before = (project / "m.keras").read_bytes()
    (tmp_path / "folder.keras").mkdir()
    for output in (project / "m.keras", tmp_path / "folder.keras"):
        done = call("strip", project / "m.keras", "-o", output, "--force")
        assert done.exit_code == 2
    assert (project / "m.keras").read_bytes() == before


def test_what_finetune_writes_beside_its_model_is_an_output_too(project: Path) -> None:
    (project / "new.json").write_text("mine")
    done = call("finetune", project / "m.keras", "--data", "absent.npz",
                "-o", project / "new.keras")  # fmt: skip
    assert done.exit_code == 2
    assert "new.json" in done.output
    assert (project / "new.json").read_text() == "mine"


def test_a_report_does_not_replace_what_it_is_about(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("run.json", "other.json"):
        (run / name).write_text("{}")
        for given in (run, run / name):
            done = call("report", given, "-o", run / name, "--force")
            assert (done.exit_code, "can't be replaced" in done.output) == (2, True)
        assert (run / name).read_text() == "{}"


@pytest.mark.parametrize("verb", ["compress", "search"])
def test_a_run_is_not_replaced_by_one_of_its_own_recipe(
    verb: str, project: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    recipe = folder / "recipe.yaml"
    search = "search:\n  space: {seed: [1, 2]}\n" if verb == "search" else ""
    recipe.write_text(f"model: {project / 'm.keras'}\ndata: {project / 'd.npz'}\n{search}")
    np.savez(project / "d.npz", x=np.ones((30, 4), np.float32), y=np.arange(30) % 2)
    adopt(folder, ["recipe.yaml"])
    done = call(verb, recipe, "-o", folder, "--force")
    assert (done.exit_code, "recipe.yaml' lies in it" in done.output) == (2, True), done.output


@pytest.mark.parametrize(
    "words",
    [
        ("--callbacks", "run/own.py:stop"),
        ("--metric", "run/own.py:score"),
        ("--metric", "out=run/own.py:score"),
        ("--augment", "flip,run/own.py:noise"),
        ("--teacher", "run/own.py:f"),
        ("--custom-objects", "run/own.py"),
        (),  # the devices file
    ],
)
def test_a_run_is_not_replaced_by_one_that_reads_a_file_in_it(
    words: tuple[str, ...], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    Path("run").mkdir()
    for name in ("own.py", "devices.yaml"):
        (project / "run" / name).write_text("")
    monkeypatch.setenv("EDGEPRESS_DEVICES", "run/devices.yaml" if not words else "none.yaml")
    adopt(Path("run"), ["own.py", "devices.yaml"])
    done = call("compress", "m.keras", "--data", "d.npz", *words, "-o", "run", "--force")
    assert (done.exit_code, "lies in it" in done.output) == (2, True), done.output
    assert sorted(p.name for p in Path("run").iterdir()) == [
        "devices.yaml", "manifest.json", "own.py"
    ]  # fmt: skip


def test_a_benchmark_does_not_replace_a_file_of_another_kind(project: Path, tmp_path: Path) -> None:
    x = keras.Input((4,))
    keras.Model(x, keras.layers.ReLU()(x)).save(tmp_path / "r.keras")
    assert (
        call("export", tmp_path / "r.keras", "-o", tmp_path / "f", "--format", "tflite").exit_code
        == 0
    )
    (file,) = (tmp_path / "f").glob("*.tflite")
    words = ("benchmark", file, "--runs", "1", "--launches", "1", "--force", "-o")
    before = (project / "m.keras").read_bytes()
    for output in (project / "m.keras", project / "notes.txt"):
        done = call(*words, output)
        assert (done.exit_code, "no JSON document" in done.output) == (2, True)
    assert (project / "m.keras").read_bytes() == before
    assert (project / "notes.txt").read_text() == "mine"
    for _ in range(2):
        assert call(*words, tmp_path / "result").exit_code == 0
