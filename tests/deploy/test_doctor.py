"""The diagnosis looks ahead to export and at the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers, ops

from edgepress.compress.errors import InputError
from edgepress.deploy import export
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


def test_a_layer_without_16_bits_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ai-edge-quantizer isn't installed, which leaves it in floats."""
    monkeypatch.setattr("edgepress.deploy.exporters.preflight.find_spec", lambda name: None)
    model = keras.Sequential([keras.Input((6, 4)), layers.Masking(name="mask")])
    (finding,) = _messages(model, formats=("tflite",))
    assert finding.severity == "note"
    assert "int16x8" in finding.message


def test_loops_are_told_of() -> None:
    model = keras.Sequential([keras.Input((6, 4)), layers.LSTM(3, name="lstm")])
    assert any("loops over time" in f.message for f in _messages(model, formats=("tflite",)))


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((None, 4), "a fixed number of steps, which input 'series' leaves free"),
        ((300, 4), "'looping' has 300 steps, which would be unrolled"),
    ],
)
def test_loops_that_tflite_does_not_take_are_foretold(shape: tuple[Any, ...], says: str) -> None:
    series = keras.Input(shape, name="series")
    model = keras.Model(series, layers.GRU(3, name="looping")(series))
    (finding,) = [f for f in _messages(model, formats=("tflite",)) if says in f.message]
    assert finding.severity == "warning"


def _remembering() -> keras.Model:
    series = keras.Input(batch_shape=(1, 4, 2), name="series")
    return keras.Model(series, layers.LSTM(3, stateful=True, name="memory")(series))


def _spread() -> keras.Model:
    image = keras.Input((6, 6, 2), name="image")
    layer = layers.Conv2DTranspose(3, 2, dilation_rate=2, name="spread")
    return keras.Model(image, layer(image))


def _joined() -> keras.Model:
    inputs = keras.Input((3,), name="inputs")
    return keras.Model(inputs, ops.mean(layers.Dense(2)(inputs)))


@pytest.mark.parametrize("build", [_remembering, _spread, _joined])
def test_what_export_refuses_is_foretold_in_its_words(build: Any, tmp_path: Path) -> None:
    model = build()
    with pytest.raises(InputError) as refused:
        export(model, tmp_path / "out")
    (finding,) = [f for f in _messages(model) if f.severity == "problem"]
    assert (finding.message, finding.hint) == (refused.value.message, refused.value.hint)


def test_the_environment_is_compared_with_the_tested_releases() -> None:
    wanted = ["numpy>=0.1,<0.2", "edgepress-of-nowhere==1.0", "click>=8.1", 'no-one ; extra == "x"']
    other, missing = environment(wanted)
    assert other.severity == "warning"
    assert "tested with <0.2,>=0.1" in other.message
    assert "<0.2" in other.hint
    assert not list(environment()), "this environment has the releases that were tested"
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
