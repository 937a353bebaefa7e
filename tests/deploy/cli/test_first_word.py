"""What a command says before TensorFlow loads, and which commands never load it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import dense_onnx

from edgepress.deploy.cli.main import COMMANDS as ALL

# Runs a command line where TensorFlow and Keras can't be imported; says so on standard error where
# something tries, with what heavy was loaded until then.
WITHOUT = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in ("tensorflow", "keras", "tf_keras"):
            heavy = {"numpy", "h5py", "onnx", "rich", "scipy"} & sys.modules.keys()
            print(f"FRAMEWORK after {sorted(heavy)}", file=sys.stderr, flush=True)
            raise SystemExit(9)
sys.meta_path.insert(0, Refuse())
from edgepress.deploy.cli.main import main
main()
"""
COMMANDS = [
    ["inspect", "m.keras"],
    ["inspect", "m.keras", "--json"],
    ["inspect", "mine.py:model"],
    ["doctor", "m.keras"],
    ["export", "m.keras", "-o", "out"],
    ["strip", "m.keras", "-o", "s.keras"],
    ["verify", "m.keras", "f.tflite"],
    ["advise", "m.keras", "--data", "d.npz"],
    ["finetune", "m.keras", "--data", "d.npz", "-o", "t.keras"],
    ["prune", "m.keras", "-o", "p.keras", "--sparsity", "0.5"],
    ["compress", "m.keras", "--data", "d.npz", "-o", "run"],
    ["compress", "r.yaml", "-o", "run"],
    ["lr-find", "m.keras", "--data", "d.npz"],
    ["unfreeze-search", "m.keras", "--data", "d.npz", "-o", "run"],
    ["sensitivity", "m.keras", "--data", "d.npz"],
    ["search", "s.yaml", "-o", "run"],
    ["search-worker", "--storage", "sqlite:///trials.db"],
    ["fit", "m.keras", "--data", "d.npz", "-o", "run"],
    ["demo", "-o", "run"],
]
# Those that say their first word without TensorFlow, and what it is.
LIGHT = {
    "": "Usage: edgepress",
    "--help": "Usage: edgepress",
    "--version": "edgepress 0.",
    "devices list": "Devices",
    "explain arena": "arena: ",
    "schema": "{",
    "report no -o r.html": "edgepress: error: 'no' does not exist",
    "benchmark no.tflite": "edgepress: error: artifact 'no.tflite' does not exist",
}


# Those load TensorFlow in a child, which nothing here keeps from it.
SUPERVISED = ("finetune", "prune", "compress", "lr-find", "unfreeze-search", "sensitivity", "demo")


def first_word(*words: str, cwd: Path) -> str:
    """The first line on standard error; the command is ended then, with its children."""
    with subprocess.Popen(
        [sys.executable, "-c", WITHOUT, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        os.killpg(process.pid, signal.SIGKILL)
    return line


def without_frameworks(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: "-".join(words[::2]))
def test_a_word_comes_before_anything_heavy(words: list[str], tmp_path: Path) -> None:
    for name in ("m.keras", "d.npz", "f.tflite", "mine.py"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "r.yaml").write_text("model: m.keras\ndata: d.npz\n")
    (tmp_path / "s.yaml").write_text(
        "model: m.keras\ndata: d.npz\nsearch: {space: {seed: [0, 1]}, objectives: [metric]}\n"
    )
    if words[0] in SUPERVISED:
        assert first_word(*words, cwd=tmp_path) == "loading TensorFlow\n"
        return
    done = without_frameworks(*words, cwd=tmp_path)
    first, *rest = done.stderr.splitlines()
    assert first == "loading TensorFlow"
    assert rest.count(first) == 0
    assert done.stdout == ""
    assert rest[0] == "FRAMEWORK after []"


def test_a_child_that_trains_says_nothing_of_its_own(tmp_path: Path) -> None:
    for name in ("m.keras", "d.npz"):
        (tmp_path / name).write_bytes(b"")
    done = without_frameworks(
        "finetune", "m.keras", "--data", "d.npz", "-o", "t.keras", cwd=tmp_path
    )
    assert done.stderr.splitlines().count("loading TensorFlow") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("line", LIGHT)
def test_a_command_without_a_model_loads_nothing_heavy(line: str, tmp_path: Path) -> None:
    done = without_frameworks(*line.split(), cwd=tmp_path)
    assert (done.stdout or done.stderr).startswith(LIGHT[line])
    assert "FRAMEWORK" not in done.stderr


def test_the_first_word_of_every_command_is_looked_at() -> None:
    looked_at = {words[0] for words in COMMANDS} | {(line.split() or [""])[0] for line in LIGHT}
    assert looked_at - {"", "--help", "--version"} == set(ALL)


def test_an_absent_model_is_told_without_loading_anything(tmp_path: Path) -> None:
    for words in (["inspect", "no.keras"], ["finetune", "no.h5", "--data", "d", "-o", "o.keras"]):
        done = without_frameworks(*words, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"model '{words[1]}' does not exist" in done.stderr


@pytest.mark.parametrize("runtime", [(), ("--runtime", "own")], ids=["plain", "runtime"])
@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_files_are_inspected_without_frameworks(
    kind: str, runtime: tuple[str, ...], tmp_path: Path
) -> None:
    from edgepress.benchmarks.tflite.tiny_model import write_tiny_model

    path = tmp_path / f"f.{kind}"
    (write_tiny_model if kind == "tflite" else dense_onnx)(path)
    if runtime:
        runtime = ("--runtime", "litert" if kind == "tflite" else "onnxruntime")
    done = without_frameworks("inspect", path.name, "--json", *runtime, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["layers"]
