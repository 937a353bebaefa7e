"""Training in a child process: its crashes, its signals, and results that don't know of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import crashing_data
import keras
import numpy as np
import pytest
from keras import layers

from edgepress.deploy.cli.main import main

EPOCHS = 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model and a data file that can crash."""
    keras.utils.set_random_seed(1)
    image = keras.Input((6, 6, 1))
    x = layers.Conv2D(5, 3, activation="relu")(image)
    x = layers.Conv2D(5, 3, activation="relu")(x)
    x = layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    keras.Model(image, x).save(tmp_path / "m.keras")
    shutil.copy(crashing_data.__file__, tmp_path / "data.py")
    return tmp_path


def words(folder: Path, output: str = "out.keras", *more: str) -> list[str]:
    return ["finetune", str(folder / "m.keras"), "--data", f"{folder / 'data.py'}:images",
            "--epochs", str(EPOCHS), "--batch-size", "16",
            "-o", str(folder / output), *more]  # fmt: skip


def begin(command: list[str]) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if k != "TF_ENABLE_ONEDNN_OPTS"}
    return subprocess.Popen(
        [sys.executable, "-m", "edgepress.deploy.cli", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def finish(command: list[str]) -> tuple[int, str, str]:
    process = begin(command)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def told(folder: Path) -> list[list[str]]:
    """Process, its parent and what it was told of oneDNN, for each checkpoint."""
    path = folder / "told"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def weights(path: Path) -> list[np.ndarray]:
    return list(keras.models.load_model(path, compile=False).get_weights())


def assert_same(first: Path, second: Path) -> None:
    for one, other in zip(weights(first), weights(second), strict=True):
        np.testing.assert_array_equal(one, other)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until_held(folder: Path, process: subprocess.Popen[str]) -> list[int]:
    """Wait until the training holds; the numbers of its process and of that one's parent."""
    while not told(folder):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return [int(word) for word in told(folder)[0][:2]]


@pytest.mark.slow
def test_a_watched_training_is_the_same_to_the_bit(folder: Path) -> None:
    code, out, err = finish(words(folder, "watched.keras", "--json"))
    assert code == 0, err
    assert json.loads(out)["notes"] == []
    with pytest.raises(SystemExit) as end:
        main(words(folder, "plain.keras"))
    assert end.value.code == 0
    assert_same(folder / "watched.keras", folder / "plain.keras")


@pytest.mark.parametrize(
    ("crash", "epochs", "since"),
    [
        ("after 2 SIGSEGV", ["1", "1", "0"], "from what is finished"),
        pytest.param(
            "before 1 SIGFPE", ["0", "0", "0"], "from its beginning", marks=pytest.mark.slow
        ),
    ],
)
def test_a_crash_is_one_line_and_the_rest_goes_without_onednn(
    folder: Path, crash: str, epochs: list[str], since: str
) -> None:
    (folder / "crashes").write_text(crash)
    code, out, err = finish(words(folder, "out.keras", "--json"))
    assert code == 0, err
    assert [line for line in err.splitlines() if "crashed" in line] == [
        f"note: the training crashed ({crash.split()[2]}); it goes on {since} without oneDNN's"
        " kernels (TF_ENABLE_ONEDNN_OPTS=0)"
    ]
    assert "Traceback" not in err
    assert [line[2] for line in told(folder)] == epochs
    for document in (json.loads(out), json.loads((folder / "out.json").read_text())):
        assert [crash.split()[2] in note for note in document["notes"]] == [True]
        assert len(document["history"]["loss"]) == EPOCHS
    assert not list(folder.glob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "rest", "result"),
    [
        ("prune", (), "out.keras"),
        ("compress", ("--format", "tflite", "--quantize", "float32"), "out/run.json"),
    ],
)
def test_a_pruning_goes_on_after_a_crash(
    folder: Path, command: str, rest: tuple[str, ...], result: str
) -> None:
    (folder / "crashes").write_text("after 1 SIGSEGV")
    data = ("--data", f"{folder / 'data.py'}:images")
    how = ("--structure", "channels", "--target-macs", "0.7", "--recover-epochs", "2", *rest)
    out = folder / result.partition("/")[0]
    code, _, err = finish([command, str(folder / "m.keras"), *data, *how, "-o", str(out)])
    assert code == 0, err
    notes = [line for line in err.splitlines() if "crashed" in line]
    assert len(notes) == 1
    assert "crashed (SIGSEGV); it goes on" in notes[0]
    assert "without oneDNN's kernels" in notes[0]
    assert {line[2] for line in told(folder)[1:]} == {"0"}
    assert not (folder / "crashes").read_text()
    assert (folder / result).exists()
    assert not list(folder.glob(".*"))


@pytest.mark.slow
def test_a_training_that_crashes_again_keeps_its_epochs_for_a_resume(folder: Path) -> None:
    (folder / "crashes").write_text("after 1 SIGBUS\nafter 1 SIGABRT")
    code, _, err = finish(words(folder))
    assert code == 3
    last = err.splitlines()[-1]
    assert last.startswith(
        "edgepress: error: the training crashed (SIGABRT), without oneDNN's kernels too; what is"
        " finished is kept; go on with: edgepress finetune --resume "
    )
    assert not (folder / "out.keras").exists()
    code, out, err = finish(words(folder, "out.keras", "--resume", "--json"))
    assert code == 0, err
    assert [line[2] for line in told(folder)] == ["1", "0", "0"]
    assert "(SIGBUS)" in json.loads(out)["notes"][-1]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_signals_stop_it_and_keep_what_is_finished(folder: Path, number: int, code: int) -> None:
    (folder / "hold").touch()
    process = begin(words(folder))
    pids = until_held(folder, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert err.splitlines()[-1] == (
        "edgepress: error: stopped; the last checkpoint is kept; run the same command with"
        " --resume to go on"
    )
    assert not any(map(is_running, pids))
    assert [path.name for path in (folder / ".out.keras.state").iterdir()] == ["training.npz"]


def test_a_killed_parent_takes_its_training_along(folder: Path) -> None:
    (folder / "hold").touch()
    process = begin(words(folder))
    pids = until_held(folder, process)
    assert process.pid == pids[1]
    process.kill()
    process.communicate()
    end = time.monotonic() + 60
    while any(map(is_running, pids)):
        assert time.monotonic() < end
        time.sleep(0.02)
