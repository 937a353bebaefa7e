"""What stands before a file: look-ups, whose numbers it takes, and features that it may carry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.io import wavfile
from variants import mostly_slow

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.compress import DataSpec
from edgepress.compress.data import open_data
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import SoundSpec
from edgepress.deploy import export, verify
from edgepress.deploy.exporters.onnx.session import quiet_session
from edgepress.deploy.sources.fronts.sounds import with_features
from edgepress.deploy.sources.fronts.tokens import split_off


def answers(path: Path, inputs: dict[str, Any]) -> Any:
    with Runtime(path) as runtime:
        return next(iter(runtime.predict(inputs).values()))


def reader() -> tuple[keras.Model, Any, Any]:
    """A model of a text and a number, which reads words that it was adapted to."""
    keras.utils.set_random_seed(0)
    given = np.array([f"{w} film" for w in ("good", "bad", "odd", "new")] * 10)
    layer = keras.layers.TextVectorization(output_sequence_length=3, name="words")
    layer.adapt(given)
    text = keras.Input((), dtype="string", name="text")
    number = keras.Input((1,), name="number")
    x = keras.layers.Flatten()(keras.layers.Embedding(10, 4)(layer(text)))
    x = keras.layers.Concatenate()([x, number])
    model = keras.Model([text, number], keras.layers.Dense(2, activation="softmax")(x))
    return model, given, np.arange(40, dtype=np.float32)[:, None] / 40


def test_a_file_takes_the_tokens_that_the_vocabulary_beside_it_numbers(
    tmp_path: Path, worker: Any
) -> None:
    model, text, number = reader()
    data = {"x_test__text": text, "x_test__number": number, "y_test": np.arange(40) % 2}
    result = export(model, tmp_path / "out", ["tflite"], data=data, worker=worker)
    assert [a.verified.passed for a in result.artifacts if a.verified] == [True]
    assert "tokens.json" in result.notes[0]
    told = json.loads((tmp_path / "out" / "tokens.json").read_text())
    assert told["layers"][0]["output_sequence_length"] == 3
    words = (tmp_path / "out" / told["layers"][0]["vocabulary"]).read_text().split("\n")
    tokens = np.array([[words.index(w) for w in t.split()] + [0] for t in text], np.int32)
    path = result.artifacts[0].path
    found = answers(path, {"text": tokens, "number": number})
    expected = model([tf.constant(text), tf.constant(number)]).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert verify(model, path, data).passed


WORDS = ["sun", "rain", "snow", "wind"]
LOOKUPS: dict[str, tuple[Any, tuple[int, ...], Any]] = {
    "numbers of words": (keras.layers.StringLookup, (), {}),
    "a mask": (keras.layers.StringLookup, (3,), {"mask_token": ""}),
    "hot": (keras.layers.StringLookup, (1,), {"output_mode": "one_hot"}),
    "hot places": (keras.layers.StringLookup, (3,), {"output_mode": "one_hot"}),
    "several hot": (keras.layers.StringLookup, (3,), {"output_mode": "multi_hot"}),
    "counts": (keras.layers.StringLookup, (3,), {"output_mode": "count"}),
    "counts beside a mask": (
        keras.layers.StringLookup, (3,), {"output_mode": "count", "mask_token": ""},
    ),
    "nothing unknown": (keras.layers.StringLookup, (1,), {"num_oov_indices": 0}),
    "numbers of numbers": (keras.layers.IntegerLookup, (2,), {}),
    "hot numbers": (keras.layers.IntegerLookup, (1,), {"output_mode": "one_hot"}),
}  # fmt: skip


def looking_up(name: str) -> keras.Model:
    kind, shape, options = LOOKUPS[name]
    of_text = kind is keras.layers.StringLookup
    layer = kind(vocabulary=WORDS if of_text else [3, 7, 9, 40], name="table", **options)
    given = keras.Input(shape, dtype="string" if of_text else "int64", name="given")
    x = keras.ops.cast(layer(given), "float32")
    x = keras.layers.Reshape((-1,))(x)
    return keras.Model(given, keras.layers.Dense(3)(x))


@pytest.mark.parametrize("name", mostly_slow(LOOKUPS, "counts beside a mask"))
def test_tables_are_a_file_that_can_be_put_before_an_onnx_file(
    name: str, tmp_path: Path, worker: Any
) -> None:
    import onnx

    model = looking_up(name)
    out = tmp_path / "out"
    result = export(model, out, ["onnx"], ["float32"], worker=worker)
    assert any("onnx.compose.merge_models" in note for note in result.notes)
    tables, rest = onnx.load(out / "tables.onnx"), onnx.load(result.artifacts[0].path)
    joined = [(tables.graph.output[0].name, rest.graph.input[0].name)]
    whole = quiet_session(onnx.compose.merge_models(tables, rest, joined, prefix1="t/"))
    kind, shape, options = LOOKUPS[name]
    of_text = kind is keras.layers.StringLookup
    known = [*WORDS, *([] if options.get("num_oov_indices") == 0 else ["fog", ""])]
    values = np.array(known if of_text else [3, 7, 9, 40, -2], object)
    given = np.random.default_rng(0).choice(values, (20, *shape))
    taken = whole.get_inputs()[0]
    found = whole.run(None, {taken.name: given if of_text else given.astype(np.int64)})[0]
    expected = model(tf.constant(given.astype(str if of_text else np.int64))).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_lookups_that_hash_are_no_tables(tmp_path: Path, worker: Any) -> None:
    layer = keras.layers.StringLookup(vocabulary=WORDS, num_oov_indices=2)
    given = keras.Input((1,), dtype="string", name="given")
    x = keras.layers.Flatten()(keras.layers.Embedding(8, 2)(layer(given)))
    model = keras.Model(given, keras.layers.Dense(2)(x))
    result = export(model, tmp_path / "out", ["onnx"], ["float32"], worker=worker)
    assert not (tmp_path / "out" / "tables.onnx").exists()
    assert not any("merge_models" in note for note in result.notes)


def test_lookups_that_can_not_be_cut_off_are_refused() -> None:
    number = keras.Input((3,), name="number")
    chosen = keras.ops.argmax(keras.layers.Dense(4)(number), -1)
    named = keras.layers.StringLookup(vocabulary=["a", "b", "c"], invert=True, name="named")
    with pytest.raises(InputError, match=r"layer 'named' .* gives an output of the model"):
        split_off(keras.Model(number, named(chosen)))


@pytest.mark.parametrize("kind", ["mel", "log-mel", "mfcc", "spectrogram"])
@pytest.mark.parametrize("frame_ms", [25.0, 20.125])
def test_features_that_are_carried_along_are_those_of_the_data(
    tmp_path: Path, kind: Any, frame_ms: float
) -> None:
    for name, hertz in (("high", 1500), ("low", 300)):
        (tmp_path / name).mkdir()
        for number in range(4):
            turns = 2 * np.pi * (hertz + number) * np.arange(2000) / 8000
            sound = (9000 * np.sin(turns)).astype(np.int16)
            wavfile.write(tmp_path / name / f"{number}.wav", 8000, sound)
    frame = round(8000 * frame_ms / 1000)
    frames, width = 1 + (2000 - frame) // 80, {"mfcc": 13, "spectrogram": 129}.get(kind, 40)
    x = inputs = keras.Input((frames, width, 1))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    options = {"features": kind, "frame_ms": frame_ms, "clip_seconds": 0.25}
    spec = DataSpec(spec=tmp_path, std=2.0, mean=0.5, **options)
    assert SoundSpec(**options).features == kind
    data = open_data(spec, model)
    carrying, plain = with_features(model, data)
    features = next(data.training_split.in_order(9).as_numpy_iterator())[0]
    sounds = next(plain.training_split.in_order(9).as_numpy_iterator())[0]
    assert sounds.shape[1:] == (2000,)
    front = carrying.get_layer("sound_front")
    np.testing.assert_allclose(front(sounds), features, rtol=2e-3, atol=2e-3)


@pytest.mark.slow
def test_an_int8_file_computes_its_features_in_floats(tmp_path: Path, worker: Any) -> None:
    random = np.random.default_rng(0)
    for name, hertz in (("high", 1500), ("low", 300)):
        (tmp_path / "s" / name).mkdir(parents=True)
        for number in range(30):
            turns = 2 * np.pi * (hertz + 9 * number) * np.arange(2000) / 8000
            sound = 9000 * np.sin(turns) + random.normal(0, 900, 2000)
            wavfile.write(tmp_path / "s" / name / f"{number}.wav", 8000, sound.astype(np.int16))
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((23, 20, 1))
    x = keras.layers.Conv2D(8, 3, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    spec = DataSpec(spec=tmp_path / "s", features="log-mel", bands=20, clip_seconds=0.25)
    out = tmp_path / "out"
    result = export(
        model, out, ["tflite", "onnx"], ["float32", "int8"], data=spec, with_features=True,
        worker=worker,
    )  # fmt: skip
    assert [(a.format, a.quantize) for a in result.artifacts] == [
        ("tflite", "float32"), ("tflite", "int8"), ("onnx", "float32"),
    ]  # fmt: skip
    assert [a.inputs[0].shape[1:] for a in result.artifacts] == [(2000,)] * 3
    assert "would round the waves" in result.skipped[0].reason
    assert json.loads((out / "features.json").read_text())["features"]["frame_length"] == 200
    for artifact in result.artifacts:
        assert verify(model, artifact, spec).passed
