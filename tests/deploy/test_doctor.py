"""The diagnosis looks ahead to export and at the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers, ops

from edgepress.deploy.cli import main
from edgepress.deploy.doctor import doctor, environment


def _messages(model: Any, **options: Any) -> list[Any]:
    return [f for f in doctor(model, **options).findings if f.topic == "export"]


def test_a_plain_network_exports() -> None:
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten()]
    )
    assert _messages(model) == []


def test_an_operation_that_tflite_lacks_is_a_problem() -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, ops.sinh(layers.Dense(3, name="dense")(inputs)))
    (finding,) = [f for f in _messages(model, formats=("tflite",)) if f.severity == "problem"]
    assert "Sinh" in finding.message


def test_a_layer_without_16_bits_is_a_note() -> None:
    model = keras.Sequential([keras.Input((6, 4)), layers.Masking(name="mask")])
    (finding,) = _messages(model, formats=("tflite",))
    assert finding.severity == "note"
    assert "int16x8" in finding.message


def test_loops_are_told_of() -> None:
    model = keras.Sequential([keras.Input((6, 4)), layers.LSTM(3, name="lstm")])
    assert any("loops over time" in f.message for f in _messages(model, formats=("tflite",)))


def test_the_environment_is_compared_with_the_pins() -> None:
    wanted = ["numpy==0.1", "edgepress-of-nowhere==1.0", "click>=8.1"]
    old, missing = environment(wanted)
    assert old.severity == "warning"
    assert "tested with 0.1" in old.message
    assert missing.severity == "problem"
    assert "edgepress-of-nowhere" in missing.message


def test_a_problem_fails_the_command_only_where_that_is_asked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    inputs = keras.Input((4,))
    dense = layers.Dense(3)
    keras.Model(inputs, dense(inputs)).save(tmp_path / "sound.keras")
    dense.kernel.assign(keras.ops.full((4, 3), float("nan")))
    keras.Model(inputs, dense(inputs)).save(tmp_path / "sick.keras")
    for name, options, code in (
        ("sound", ["--strict"], 0), ("sick", [], 0), ("sick", ["--strict"], 1)
    ):  # fmt: skip
        with pytest.raises(SystemExit) as end:
            main(["doctor", str(tmp_path / f"{name}.keras"), *options])
        assert (end.value.code or 0) == code
    assert "has a problem" in capfd.readouterr().err
