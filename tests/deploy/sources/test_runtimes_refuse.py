"""A file that only its runtime finds damaged or unsupported is one line and exit code 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import onnx
import pytest
from click.testing import CliRunner
from tiny_models import unknown_operator_tflite

from edgepress.compress.errors import DeviceError
from edgepress.deploy.benchmarking.benchmark import benchmark
from edgepress.deploy.cli.main import cli
from edgepress.deploy.verification.verifying import verify


def _onnx(path: Path, operator: str, given: str = "x") -> Path:
    """A file of one node that reads a tensor, which may be none of the graph's."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(operator, [given], ["y"], domain="" if operator != "Odd" else "own")],
        "g",
        [helper.make_tensor_value_info("x", kind, ["n", 4])],
        [helper.make_tensor_value_info("y", kind, ["n", 4])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    )
    return path


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Files that are read without a complaint, and that no runtime takes."""
    monkeypatch.chdir(tmp_path)
    x = keras.Input((4,))
    keras.Model(x, keras.layers.ReLU()(x)).save("m.keras")
    return {
        "an operator of somebody's": unknown_operator_tflite(tmp_path / "odd.tflite"),
        "an operator that ONNX lacks": _onnx(tmp_path / "lacking.onnx", "NoSuchOperator"),
        "an operator of another domain": _onnx(tmp_path / "own.onnx", "Odd"),
        "a tensor that nothing gives": _onnx(tmp_path / "loose.onnx", "Relu", "z"),
    }


def _refused(words: list[str], name: str) -> None:
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2, (words, done.output)
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("edgepress: error: ")]
    assert name in line
    assert "Error:" not in line


@pytest.mark.parametrize(
    "kind",
    [
        "an operator of somebody's",
        "an operator that ONNX lacks",
        "an operator of another domain",
        "a tensor that nothing gives",
    ],
)
def test_every_command_that_runs_it_names_it(files: dict[str, Path], kind: str) -> None:
    path = files[kind]
    _refused(["verify", "m.keras", str(path)], path.name)
    _refused(["benchmark", str(path), "--runs", "1"], path.name)
    _refused(["export", str(path), "-o", "out", "--format", path.suffix[1:]], f"'{path.name}'")
    assert not Path("out").exists()


def test_files_beside_it_are_measured(files: dict[str, Path]) -> None:
    good = _onnx(Path("good.onnx"), "Relu")
    words = ["benchmark", str(good), str(files["a tensor that nothing gives"]), "--runs", "2"]
    done = CliRunner().invoke(cli, [*words, "--launches", "1", "--json"])
    assert done.exit_code == 2
    told = json.loads(done.stdout)
    assert [row["artifact"] for row in told["rows"]] == [str(good)]
    assert [(f["artifact"], f["refused"]) for f in told["failures"]] == [(words[2], True)]


def test_what_the_machine_lacks_is_no_fault_of_the_file(files: dict[str, Path]) -> None:
    good = _onnx(Path("good.onnx"), "Relu")
    with pytest.raises(DeviceError) as caught:
        benchmark([good], runs=1, launches=1, cpus=[4096])
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(("ending", "code"), [("SIGSEGV", 2), ("SIGABRT", 2), ("SIGKILL", 3)])
def test_a_runtime_that_dies_with_the_file(
    files: dict[str, Path], ending: str, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The child ends itself by a signal, as native code does that a damaged file leads astray."""
    from edgepress.benchmarks.runtimes import runtime

    script = tmp_path / "dies.py"
    script.write_text(f"import os, signal\ninput()\nos.kill(os.getpid(), signal.{ending})\n")
    plain = runtime.LocalChannel
    monkeypatch.setattr(runtime, "LocalChannel", lambda: plain([str(script)]))
    with pytest.raises(
        DeviceError, match=r"good\.onnx.*" + ending.replace("SIGKILL", "killed")
    ) as caught:
        verify(_model(), _onnx(Path("good.onnx"), "Relu"))
    assert caught.value.exit_code == code


def _model() -> Any:
    return keras.saving.load_model("m.keras")
