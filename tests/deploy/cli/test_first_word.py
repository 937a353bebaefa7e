"""What a command says before TensorFlow loads, and which commands never load it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_forks import Forks
from tiny_models import dense_onnx

from edgepress.deploy.cli.main import COMMANDS as ALL

# Where they can't be imported, who tries says so, with what heavy was loaded until then.
FRAMEWORKS = ("tensorflow", "keras", "tf_keras")
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


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: "-".join(words[::2]))
def test_a_word_comes_before_anything_heavy(words: list[str], tmp_path: Path, forks: Forks) -> None:
    for name in ("m.keras", "d.npz", "f.tflite", "mine.py"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "r.yaml").write_text("model: m.keras\ndata: d.npz\n")
    (tmp_path / "s.yaml").write_text(
        "model: m.keras\ndata: d.npz\nsearch: {space: {seed: [0, 1]}, objectives: [metric]}\n"
    )
    if words[0] in SUPERVISED:
        assert forks.first_word(words, tmp_path, FRAMEWORKS) == "loading TensorFlow\n"
        return
    done = forks.run(words, tmp_path, refused=FRAMEWORKS)
    first, *rest = done.stderr.splitlines()
    assert first == "loading TensorFlow"
    assert rest.count(first) == 0
    assert done.stdout == ""
    assert rest[0] == "FRAMEWORK after []"


def test_a_child_that_trains_says_nothing_of_its_own(tmp_path: Path, forks: Forks) -> None:
    for name in ("m.keras", "d.npz"):
        (tmp_path / name).write_bytes(b"")
    words = ["finetune", "m.keras", "--data", "d.npz", "-o", "t.keras"]
    done = forks.run(words, tmp_path, refused=FRAMEWORKS)
    assert done.stderr.splitlines().count("loading TensorFlow") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("line", LIGHT)
def test_a_command_without_a_model_loads_nothing_heavy(
    line: str, tmp_path: Path, forks: Forks
) -> None:
    done = forks.run(line.split(), tmp_path, refused=FRAMEWORKS)
    assert (done.stdout or done.stderr).startswith(LIGHT[line])
    assert "FRAMEWORK" not in done.stderr


def test_the_first_word_of_every_command_is_looked_at() -> None:
    looked_at = {words[0] for words in COMMANDS} | {(line.split() or [""])[0] for line in LIGHT}
    assert looked_at - {"", "--help", "--version"} == set(ALL)


def test_an_absent_model_is_told_without_loading_anything(tmp_path: Path, forks: Forks) -> None:
    for words in (["inspect", "no.keras"], ["finetune", "no.h5", "--data", "d", "-o", "o.keras"]):
        done = forks.run(words, tmp_path, refused=FRAMEWORKS)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"model '{words[1]}' does not exist" in done.stderr


@pytest.mark.parametrize("runtime", [(), ("--runtime", "own")], ids=["plain", "runtime"])
@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_files_are_inspected_without_frameworks(
    kind: str, runtime: tuple[str, ...], tmp_path: Path, forks: Forks
) -> None:
    from edgepress.benchmarks.tflite.tiny_model import write_tiny_model

    path = tmp_path / f"f.{kind}"
    (write_tiny_model if kind == "tflite" else dense_onnx)(path)
    if runtime:
        runtime = ("--runtime", "litert" if kind == "tflite" else "onnxruntime")
    done = forks.run(["inspect", path.name, "--json", *runtime], tmp_path, refused=FRAMEWORKS)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["layers"]
