"""The whole line on the embedded digits: verified, resumable, repeatable, honest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.files import sha256
from edgepress.deploy import RunResult, run
from edgepress.deploy.demo import digits
from edgepress.deploy.pipeline.stages import model_stages
from edgepress.deploy.recipe import Recipe

NETWORK = """
import keras
from keras import layers

from edgepress.deploy.demo import digits


def network():
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="first")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="second")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(10, activation="softmax", name="digit")(x))
    data = digits()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(data["x_train"] / 16, data["y_train"], batch_size=16, epochs=8, verbose=0)
    return model
"""


def recipe(folder: Path, **changes: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "model": str(folder / "model.keras"),
            "data": {"spec": "edgepress.deploy.demo:digits", "scale": "1/16"},
            "finetune": {"unfreeze": ["top:1"], "epochs": 1},
            "prune": [
                {"structure": "channels", "target_macs": 0.5, "recover_epochs": 1},
                {"structure": "weights", "sparsity": 0.5, "recover_epochs": 2},
            ],
            "export": {"formats": ["tflite", "onnx"], "quantize": ["float32", "int8"]},
            "benchmark": {"runs": 5, "launches": 1},
            **changes,
        }
    )


SHORT: dict[str, Any] = {
    "finetune": None,
    "prune": [
        {"structure": "channels", "target_macs": 0.5},
        {"structure": "weights", "sparsity": 0.5},
    ],
    "export": {"formats": ["tflite"], "quantize": ["float32"]},
}


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    names: dict[str, Any] = {}
    exec(NETWORK, names)
    names["network"]().save(folder / "model.keras")
    return folder


@pytest.fixture(scope="module")
def finished(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    run(recipe(model_folder), folder)
    return folder


@pytest.fixture(scope="module")
def short(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of few stages without training, and of one file."""
    folder = tmp_path_factory.mktemp("runs") / "short"
    run(recipe(model_folder, **SHORT), folder)
    return folder


@pytest.fixture(scope="module")
def failed(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A run that prunes too much for its floors, and that can't reach its device."""
    changes = {
        "finetune": None,
        "prune": [{"structure": "weights", "sparsity": 0.97, "max_drop": 0.01}],
        "export": SHORT["export"],
        "benchmark": {"devices": ["ssh://nobody@127.0.0.1:1"], "runs": 5},
        "accept": {"max_drop": 0.01},
    }
    return run(recipe(model_folder, **changes), tmp_path_factory.mktemp("runs") / "failed")


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return found


def test_every_stage_is_accounted_for(finished: Path) -> None:
    found = record(finished)
    assert [s["kind"] for s in found["stages"]] == ["source", "finetune", "prune", "prune", "strip"]
    source, _, channels, weights, strip = found["stages"]
    assert abs(channels["macs"] / source["macs"] - 0.5) <= 0.05
    assert weights["sparsity"] == pytest.approx(0.5, abs=0.01)
    assert strip["gzip_bytes"] < channels["gzip_bytes"] < source["gzip_bytes"]
    assert all(s["note"] for s in found["stages"][1:])
    assert all(s["median_ms"] > 0 for s in found["stages"])
    assert (finished / "report.html").stat().st_size > 10_000


def test_artifacts_are_verified_and_score_what_an_independent_loop_measures(finished: Path) -> None:
    found = record(finished)
    assert {(a["format"], a["quantize"]) for a in found["artifacts"]} == {
        (f, q) for f in ("tflite", "onnx") for q in ("float32", "int8")
    }
    data = digits()
    for artifact in found["artifacts"]:
        assert artifact["verified"]["passed"]
        with Runtime(finished / artifact["path"]) as runtime:
            name = runtime.tensors()[0][0].name
            outputs = runtime.predict({name: (data["x_test"] / 16).astype(np.float32)})
        right = next(iter(outputs.values())).argmax(1) == data["y_test"]
        assert artifact["verified"]["value"] == pytest.approx(right.mean(), abs=1e-3)
        (row,) = (r for r in found["benchmark"]["rows"] if r["path"] == artifact["path"])
        assert row["value"] == artifact["verified"]["value"]
        assert row["outcomes"]


def timeless(value: Any) -> Any:
    """A record without times."""
    varying = ("_ms", "time_note", "time_same")
    if isinstance(value, dict):
        kept = {
            k: v
            for k, v in value.items()
            if not k.endswith(varying) and "seconds" not in k and k != "date"
        }
        return {k: timeless(v) for k, v in kept.items()}
    return [timeless(v) for v in value] if isinstance(value, list) else value


class Interrupt:
    """Progress that presses Ctrl-C when a stage begins."""

    def __init__(self, at: str) -> None:
        self.at = at

    def stage(self, text: str) -> None:
        if self.at in text:
            raise KeyboardInterrupt

    def step(self, done: int, total: int, text: str = "") -> None:
        pass


def test_a_stopped_run_goes_on_and_ends_like_one_that_was_not_stopped(
    finished: Path, model_folder: Path, tmp_path: Path
) -> None:
    """By the same seed: the same records, times apart, and the same weights, bit by bit."""
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(recipe(model_folder), folder, progress=Interrupt("prune weights"))
    kept = {p.name: p.stat().st_mtime_ns for p in (folder / "stages").glob("0*")}
    assert [name[3:] for name in sorted(kept)] == ["source", "finetune", "prune-channels"]
    run(None, folder, resume=True)
    after = {p.name: p.stat().st_mtime_ns for p in (folder / "stages").glob("0*")}
    assert kept.items() <= after.items()
    first, second = record(finished), record(folder)
    for found in (first, second):
        del found["benchmark"]
    assert timeless(first) == timeless(second)
    for stage in first["stages"]:
        a, b = (keras.models.load_model(f / "stages" / stage["name"] / "model.keras")
                for f in (finished, folder))  # fmt: skip
        for one, other in zip(a.get_weights(), b.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def hashes(folder: Path) -> set[str]:
    """Of the files that a run measures."""
    files = [*folder.glob("artifacts/*.tflite"), *folder.glob("artifacts/*.onnx")]
    files += folder.glob("stages/*/model.tflite")
    return {sha256(path) for path in files}


def test_a_moved_run_goes_on_with_its_own_files(short: Path, tmp_path: Path) -> None:
    old, new, link = tmp_path / "old", tmp_path / "elsewhere" / "new", tmp_path / "link"
    shutil.copytree(short, new)
    # As before version 2: paths of the place where the run was, and no hashes of stages.
    for path in new.glob("stages/*/result.json"):
        told = json.loads(path.read_text())
        told.pop("float_sha256", None)
        for artifact in told.get("artifacts", ()):
            artifact["path"] = str(old / artifact["path"])
        path.write_text(json.dumps(told))
    # At that place lies another run now, whose files have the same names.
    shutil.copytree(short, old)
    for path in [*old.glob("artifacts/*"), *old.glob("stages/*/model.*")]:
        path.write_bytes(b"another run's")
    link.symlink_to(new)
    kept = {path: path.stat().st_mtime_ns for path in new.glob("artifacts/*")}
    result = run(None, link, resume=True)
    assert {path: path.stat().st_mtime_ns for path in new.glob("artifacts/*")} == kept
    found = record(new)
    assert {row["sha256"] for row in found["benchmark"]["rows"]} == hashes(new)
    assert all(not Path(row["path"]).is_absolute() for row in found["benchmark"]["rows"])
    assert all((link / a["path"]).is_file() for a in found["artifacts"])
    assert all(s["median_ms"] > 0 for s in found["stages"])
    assert all(Path(a["path"]).is_file() for a in result.to_json()["artifacts"])


def test_a_file_that_is_not_the_verified_one_is_made_again(short: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(short, folder)
    (changed,) = folder.glob("artifacts/*.tflite")
    right = sha256(changed)
    shutil.copy(folder / "stages" / "00-source" / "model.tflite", changed)
    assert sha256(changed) != right
    run(None, folder, resume=True)
    assert sha256(changed) == right


def test_a_drop_beyond_the_floor_is_not_accepted(failed: RunResult) -> None:
    assert not failed.accepted
    assert any("tflite float32" in line for line in failed.record["unmet"])
    assert failed.record["artifacts"][0]["verified"]["passed"]


def test_a_pruning_step_keeps_to_its_own_floor(failed: RunResult) -> None:
    assert any("01-prune-weights" in line for line in failed.record["unmet"])


def test_what_a_killed_run_left_half_written_is_swept(short: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(short, folder)
    (folder / "stages" / ".01-prune-channels.edgepress-aba61ec1").mkdir()
    (folder / ".run.edgepress-0123abcd.json").write_text("{")
    (folder / ".gitignore").write_text("mine")
    run(None, folder, resume=True)
    hidden = sorted(p.name for p in folder.rglob(".*"))
    assert hidden == [".gitignore"]


def test_a_folder_that_is_no_run_is_never_replaced(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_text("mine")
    for force in (False, True):
        with pytest.raises(InputError, match="photos"):
            run(recipe(model_folder), tmp_path / "photos", force=force)
    assert (tmp_path / "photos" / "one.jpg").read_text() == "mine"


def test_changed_settings_redo_only_what_follows_them(
    short: Path, model_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(short, folder)
    changed = recipe(model_folder, **SHORT)
    steps = (changed.prune[0], changed.prune[1].model_copy(update={"sparsity": 0.25}))
    before = (folder / "stages" / "01-prune-channels").stat().st_ino
    result = run(changed.model_copy(update={"prune": steps}), folder, resume=True)
    assert (folder / "stages" / "01-prune-channels").stat().st_ino == before
    assert result.record["stages"][2]["sparsity"] == pytest.approx(0.25, abs=0.01)


def test_a_device_that_fails_costs_only_its_figures(failed: RunResult) -> None:
    assert failed.record["artifacts"][0]["verified"]["passed"]
    assert failed.record["stages"][0]["median_ms"] is None
    assert "127.0.0.1:1" in failed.record["benchmark"]["failures"][0]["reason"]
    assert (failed.folder / "report.html").exists()
    # A device that failed hides no check that is unmet.
    assert failed.verdict.exit_code == 1
    assert any("float32" in unmet.text for unmet in failed.verdict.unmet)
    assert "127.0.0.1:1" in failed.verdict.lines[-1]


def test_what_would_fail_at_the_end_is_refused_at_the_beginning(
    model_folder: Path, tmp_path: Path
) -> None:
    steps = [
        {"structure": "channels", "target_macs": 0.5},
        {"structure": "weights", "sparsity": 0.5, "criterion": "tailor"},
    ]
    for changes, says in (
        ({"benchmark": {"devices": ["phone"]}}, "phone"),
        ({"prune": steps}, "tailor"),
        ({"export": {"formats": ["tflit"]}}, "tflit"),
        ({"finetune": {"optimizer": "adm"}}, "adm"),
    ):
        with pytest.raises(InputError, match=says):
            run(recipe(model_folder, **changes), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_a_pattern_is_target_enough(model_folder: Path) -> None:
    changed = recipe(model_folder, prune=[{"structure": "nm", "pattern": "2:4"}])
    assert [s.title for s in model_stages(changed)][2] == "prune nm to pattern 2:4"


@pytest.mark.slow
def test_recovery_goes_on_from_what_the_source_and_each_stage_were_compiled_with(
    model_folder: Path, tmp_path: Path
) -> None:
    step = {"structure": "channels", "recover_epochs": 1}
    changes = {
        "finetune": None,
        "prune": [{**step, "target_macs": 0.8}, {**step, "target_macs": 0.8}],
        "export": {"formats": ["tflite"], "quantize": ["float32"]},
    }
    run(recipe(model_folder, **changes), tmp_path / "run")
    taken = [
        int(keras.models.load_model(path / "model.keras").optimizer.iterations)
        for path in sorted((tmp_path / "run" / "stages").glob("*prune*"))
    ]
    before = int(keras.models.load_model(model_folder / "model.keras").optimizer.iterations)
    assert before > 0
    assert taken[0] > before
    assert taken[1] - taken[0] == taken[0] - before
