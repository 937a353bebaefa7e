"""What can't be done with files that hold no Keras model: one line each, exit code 2."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from edgepress.deploy.cli import main

DATA = ["--data", "d.npz"]
OUT = ["-o", "out.keras"]
TRAINING: dict[str, list[str]] = {
    "finetune": [*DATA, *OUT],
    "prune": [*DATA, *OUT, "--sparsity", "0.5"],
    "sensitivity": DATA,
    "advise": DATA,
    "lr-find": DATA,
    "unfreeze-search": [*DATA, "-o", "out"],
    "strip": OUT,
}


def _refused(words: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        main(words)
    out, err = capfd.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("edgepress: error: ")]
    assert (end.value.code, out, len(lines)) == (2, "", 1), err
    return lines[0]


@pytest.mark.parametrize("name", TRAINING)
def test_training_commands_say_what_works(
    name: str, kinds: Any, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(kinds.data, "d.npz")
    for kind in ("tflite", "onnx", "savedmodel"):
        line = _refused([name, str(kinds.files[kind]), *TRAINING[name]], capfd)
        assert "can't be fine-tuned or pruned" in line
        assert "inspect, doctor, export, verify and benchmark take it" in line
    assert not list(tmp_path.glob("out*"))


def _cut(kinds: Any, kind: str, place: Path) -> Path:
    whole = kinds.files[kind].read_bytes()
    path = place / f"cut.{kind}"
    path.write_bytes(whole[: len(whole) // 2])
    return path


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_truncated_files(kind: str, kinds: Any, tmp_path: Path, capfd: Any) -> None:
    path = str(_cut(kinds, kind, tmp_path))
    whole = str(kinds.files[kind])
    out = str(tmp_path / "out")
    for words in (
        ["inspect", path],
        ["doctor", path],
        ["verify", path, whole],
        ["verify", whole, path],
        ["benchmark", path],
        ["export", path, "-o", out, "--format", kind, "--quantize", "dynamic"],
    ):
        assert "truncated" in _refused(words, capfd)


def test_weights_outside_that_are_missing(kinds: Any, tmp_path: Path, capfd: Any) -> None:
    import onnx

    model = onnx.load(kinds.files["onnx"])
    path = tmp_path / "scattered.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=100)
    with (tmp_path / "weights.bin").open("r+b") as file:
        file.truncate(100)
    assert "weights.bin' is truncated" in _refused(["inspect", str(path)], capfd)
    (tmp_path / "weights.bin").unlink()
    assert "weights.bin" in _refused(["inspect", str(path)], capfd)
    assert "copy that file too" in _refused(["benchmark", str(path)], capfd)


def test_folders_that_are_no_saved_model(kinds: Any, tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "empty").mkdir()
    damaged = tmp_path / "damaged"
    shutil.copytree(kinds.files["savedmodel"], damaged)
    program = damaged / "saved_model.pb"
    program.write_bytes(program.read_bytes()[:500])
    tflite = str(kinds.files["tflite"])
    for name, says in (("empty", "no saved_model.pb"), ("damaged", "is damaged")):
        folder = str(tmp_path / name)
        for words in (["inspect", folder], ["benchmark", folder], ["verify", folder, tflite]):
            assert says in _refused(words, capfd)


def test_a_saved_model_without_signatures(saved: Callable[..., Path], capfd: Any) -> None:
    folder = saved(lambda x: 2 * x, signed=False)
    assert "without signatures" in _refused(["inspect", str(folder)], capfd)


REACHING: dict[str, tuple[Callable[[Any], Any], str]] = {
    "python": (lambda x: tf.numpy_function(lambda a: a, [x], tf.float32), "PyFunc"),
    "a file read": (
        lambda x: x + tf.cast(tf.strings.length(tf.io.read_file("f")), x.dtype), "ReadFile"
    ),
    "files sought": (
        lambda x: x + tf.cast(tf.size(tf.io.matching_files("*")), x.dtype), "MatchingFiles"
    ),
    "weights read in an inference": (
        lambda x: x + tf.raw_ops.RestoreV2(
            prefix="p", tensor_names=["w"], shape_and_slices=[""], dtypes=[tf.float32]
        )[0],
        "RestoreV2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REACHING)
def test_a_graph_that_reaches_out_of_the_model_is_not_run(
    name: str, saved: Callable[..., Path], capfd: Any
) -> None:
    function, operation = REACHING[name]
    line = _refused(["inspect", str(saved(function))], capfd)
    assert operation in line
    assert "is not run" in line


def test_a_printing_graph_is_run_unless_it_prints_to_a_file(
    saved: Callable[..., Path], tmp_path: Path, capfd: Any
) -> None:
    def printing(x: Any) -> Any:
        tf.print(x[0, 0], output_stream=f"file://{tmp_path / 'written'}")
        return 2 * x

    assert "PrintV2" in _refused(["inspect", str(saved(printing))], capfd)
    assert not (tmp_path / "written").exists()


USELESS: dict[str, tuple[str, list[str], str]] = {
    "batch": ("tflite", ["--batch", "4"], "--batch has no effect"),
    "io": (
        "tflite",
        ["--io", "int8", "--quantize", "int8", "--data", "d.npz"],
        "--io has no effect",
    ),
    "opset": ("onnx", ["--format", "onnx", "--opset", "15"], "--opset has no effect"),
    "shape of another input": ("tflite", ["--shape", "picture=8x8x2"], "no input is called"),
    "shape": ("onnx", ["--format", "onnx", "--shape", "image=9x9x2"], "does not match"),
    "sparse": ("tflite", ["--sparse-encoding", "on"], "--sparse-encoding has no effect"),
    "select": ("tflite", ["--select-ops"], "--select-ops has no effect"),
    "nchw": ("onnx", ["--format", "onnx", "--nchw"], "--nchw has no effect"),
    "ranges": (
        "tflite",
        ["--calibration-method", "entropy", "--quantize", "int8", "--data", "d.npz"],
        "--calibration-method has no effect",
    ),
    "equalise": (
        "onnx",
        ["--format", "onnx", "--equalize", "--quantize", "int8", "--data", "d.npz"],
        "--equalize changes a Keras model",
    ),
    "floor": (
        "onnx",
        ["--quantize", "int8", "--format", "tflite", "--int8-max-drop", "0.1", "--data", "d.npz"],
        "--int8-max-drop has no effect",
    ),
    "training": (
        "savedmodel",
        ["--qat-epochs", "1", "--quantize", "int8", "--data", "d.npz"],
        "--qat-epochs trains",
    ),
}


@pytest.mark.parametrize("name", USELESS)
def test_options_that_nothing_would_heed(
    name: str, kinds: Any, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(kinds.data, "d.npz")
    kind, options, says = USELESS[name]
    assert says in _refused(["export", str(kinds.files[kind]), "-o", "out", *options], capfd)


def test_layers_are_compared_with_keras_models_only(kinds: Any, capfd: Any) -> None:
    words = ["verify", str(kinds.files["onnx"]), str(kinds.files["tflite"]), "--layers"]
    assert "--layers" in _refused(words, capfd)
