"""The same file in every runtime: each is held against the source, and a wrong one is found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.registry import Table
from edgepress.deploy.cli.main import cli
from edgepress.deploy.exporting.export import export
from edgepress.deploy.verification import in_runtimes
from edgepress.deploy.verification.in_runtimes import RUNTIMES, choose, verify_in_runtimes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, worker: Any) -> Path:
    """A model of two inputs and outputs, its files, and the file of another one."""
    folder = tmp_path_factory.mktemp("made")
    for name, seed in (("right", 0), ("wrong", 1)):
        keras.utils.set_random_seed(seed)
        left, right = keras.Input((4,), name="z_left"), keras.Input((6,), name="a_right")
        both = keras.layers.Concatenate()([left, right])
        outputs = [keras.layers.Dense(n, name=f"out{n}")(both) for n in (2, 5)]
        model = keras.Model([left, right], outputs)
        model.save(folder / f"{name}.keras")
        export(model, folder / name, ["tflite", "onnx"], ["float32"], worker=worker)
    return folder


def also_wrong(made: Path, runtime: str) -> Table[Any]:
    """The table, with a runtime in which every file computes what another file does."""
    other = made / "wrong" / "model_float32.tflite"
    entry = replace(RUNTIMES[runtime], load=lambda *_: Runtime(other))
    return Table("runtime", {**RUNTIMES, runtime: entry})


def test_every_runtime_is_held_against_the_source(made: Path) -> None:
    model = keras.saving.load_model(made / "right.keras")
    found = verify_in_runtimes(model, made / "right" / "model_float32.tflite", samples=9)
    ran = {one.runtime: one for one in found}
    assert {"litert", "litert-builtin", "litert-reference"} <= ran.keys()
    assert "onnxruntime" not in ran
    for one in found:
        assert one.passed, one
        assert one.version
        assert one.from_first is not None
        assert one.from_first < 1e-5
        assert one.agreement is not None
        assert one.agreement.samples == 9
    assert found[0].from_first == 0


def test_those_that_were_asked_for(made: Path) -> None:
    path = made / "right" / "model_float32.onnx"
    (one,) = verify_in_runtimes(made / "right.keras", path, runtimes=["onnxruntime"])
    assert one.passed
    assert choose(Path("a.tflite"), ["litert-reference", "litert"]) == [
        "litert",
        "litert-reference",
    ]


def test_a_runtime_in_which_it_is_wrong_is_found(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_runtimes, "RUNTIMES", also_wrong(made, "litert-builtin"))
    file = made / "right" / "model_float32.tflite"
    words = ["verify", str(made / "right.keras"), str(file), "--runtimes", "all", "--json"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 1
    assert "differs from its source in litert-builtin" in done.stderr
    told = json.loads(done.stdout)
    assert told["passed"]
    passed = {one["runtime"]: one["passed"] for one in told["runtimes"]}
    assert passed.pop("litert-builtin") is False
    assert all(passed.values())
    shown = CliRunner().invoke(cli, words[:-1])
    assert "✗ failed" in shown.stdout


@pytest.mark.parametrize(("asked", "code"), [("litert,litert-builtin", 1), ("all", 0)])
def test_a_refusal_is_said_and_fails_one_that_was_named(
    made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: str, code: int
) -> None:
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes((made / "right" / "model_float32.tflite").read_bytes()[:200])
    entry = replace(RUNTIMES["litert-builtin"], load=lambda *_: Runtime(damaged))
    table = Table("runtime", {**RUNTIMES, "litert-builtin": entry})
    monkeypatch.setattr(in_runtimes, "RUNTIMES", table)
    file = made / "right" / "model_float32.tflite"
    words = ["verify", str(made / "right.keras"), str(file), "--runtimes", asked]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == code, done.output
    assert "litert-builtin did not run it: " in done.stdout
    assert "✗ not run" in done.stdout


# Numbers for both inputs and outputs, and a line in a file for each time that they were asked for.
COUNTED = """
from pathlib import Path
import numpy as np

def numbers():
    with Path(__file__).with_suffix(".opened").open("a") as file:
        file.write("opened\\n")
    drawn = np.random.default_rng(0).normal(size=(12, 17)).astype("float32")
    inputs = {"z_left": drawn[:, :4], "a_right": drawn[:, 4:10]}
    return {"test": (inputs, {"out2": drawn[:, 10:12], "out5": drawn[:, 12:]})}
"""


def test_the_operator_at_fault_is_found_in_data_that_is_opened_once(
    made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def wrong(path: Path, _: int) -> Runtime:
        content = path.read_bytes()
        assert content.count(kernel) == 1
        harmed = path.with_name("harmed.tflite")
        harmed.write_bytes(content.replace(kernel, kernel[::-1]))
        return Runtime(harmed)

    model = keras.saving.load_model(made / "right.keras")
    kernel = np.ascontiguousarray(np.asarray(model.get_layer("out5").kernel).T).tobytes()
    entry = replace(RUNTIMES["litert-builtin"], load=wrong)
    table = Table("runtime", {**RUNTIMES, "litert-builtin": entry})
    monkeypatch.setattr(in_runtimes, "RUNTIMES", table)
    file, folder = made / "right" / "model_float32.tflite", tmp_path / "kept"
    words = ["verify", str(made / "right.keras"), str(file), "--bisect", str(folder)]
    (tmp_path / "counted.py").write_text(COUNTED, "utf-8")
    words += ["--data", f"{tmp_path / 'counted.py'}:numbers", "--layers"]
    done = CliRunner().invoke(cli, [*words, "--runtimes", "litert,litert-builtin", "--json"])
    assert done.exit_code == 1
    litert, builtin = json.loads(done.stdout)["bisected"]
    assert (litert["runtime"], litert["departure"], litert["reason"]) == ("litert", None, "")
    assert builtin["departure"]["operator"] == "FULLY_CONNECTED"
    assert builtin["departure"]["layer"] == "out5"
    assert (tmp_path / "counted.opened").read_text("utf-8") == "opened\n"
    kept = {path.name for path in (folder / "litert-builtin").iterdir()}
    assert kept == {"inputs.npz", "reference.npz", "suspect.npz", "until.tflite"}
    assert CliRunner().invoke(cli, words).exit_code == 2
    again = CliRunner().invoke(cli, [*words, "--runtimes", "all"])
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_difference_counts_what_is_no_number() -> None:
    nan, one = np.float32([np.nan, 1]), np.float32([1, 1])
    assert in_runtimes._apart(nan, nan) == 0
    assert in_runtimes._apart(nan, one) == np.inf
    assert in_runtimes._apart(np.float32([np.inf]), np.float32([np.inf])) == 0


@pytest.mark.parametrize(
    ("file", "names", "part"),
    [
        ("a.tflite", ["litter"], "did you mean 'litert'"),
        ("a.tflite", ["onnxruntime"], "onnxruntime does not read"),
        ("a.txt", ["all"], "read by no runtime"),
    ],
)
def test_what_can_not_be_asked_for(file: str, names: list[str], part: str) -> None:
    with pytest.raises(InputError) as caught:
        choose(Path(file), names)
    assert part in caught.value.format_message()


def test_a_runtime_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_runtimes, "find_spec", lambda _: None)
    assert "tflm" not in choose(Path("a.tflite"), ["all"])
    assert {"openvino", "tflm"} == set(in_runtimes.absent(Path("a.tflite")))
    with pytest.raises(InputError, match="tflm is not installed"):
        choose(Path("a.tflite"), ["tflm"])
