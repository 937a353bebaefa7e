"""Models with a look-up inside: trained, copied and pruned on text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgepress import compress
from edgepress.compress import DataSpec
from edgepress.compress.data import open_data
from edgepress.compress.errors import InputError
from edgepress.compress.models.rebuilding.copying import copy_model

GOOD, BAD, REST = ("good", "great", "fine"), ("bad", "awful", "poor"), ("the", "film", "ünd")


def texts(count: int = 80, seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    words = [
        [*random.choice(GOOD if label else BAD, 2), *random.choice(REST, 3)] for label in labels
    ]
    return np.array([" ".join(random.permutation(w)) for w in words]), labels


def network(shape: tuple[int, ...] = (), mode: str = "int") -> keras.Model:
    keras.utils.set_random_seed(0)
    layer = keras.layers.TextVectorization(
        max_tokens=20, output_mode=mode, output_sequence_length=6 if mode == "int" else None,
        name="words",
    )  # fmt: skip
    layer.adapt(texts()[0])
    x = inputs = keras.Input(shape, dtype="string", name="text")
    x = layer(x)
    if mode == "int":
        x = keras.layers.Embedding(20, 8)(x)
        x = keras.layers.GlobalAveragePooling1D()(x)
    x = keras.layers.Dense(8, activation="relu", name="hidden")(x)
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))


def answers(model: Any, given: Any) -> Any:
    import tensorflow as tf

    return model(tf.constant(given)).numpy()


@pytest.mark.parametrize("mode", ["int", "multi_hot", "tf_idf"])
def test_copies_keep_the_vocabulary(mode: str) -> None:
    model, (given, _) = network(mode=mode), texts()
    expected = answers(model, given)
    np.testing.assert_allclose(answers(copy_model(model), given), expected, atol=1e-6)
    pruned = compress.prune(model, structure="channels", sparsity=0.5).model
    names = model.get_layer("words").get_vocabulary()
    assert pruned.get_layer("words").get_vocabulary() == names
    np.testing.assert_array_equal(
        answers(keras.Model(pruned.inputs, pruned.get_layer("words").output), given),
        answers(keras.Model(model.inputs, model.get_layer("words").output), given),
    )
    np.testing.assert_allclose(answers(compress.strip(model), given), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_text_trains_from_every_kind_of_data(tmp_path: Path, shape: tuple[int, ...]) -> None:
    import pandas as pd

    given, labels = texts()
    given[0], given[1] = "", "unheard-of words: NA null 01"
    np.savez(tmp_path / "t.npz", x=given, y=labels)
    pd.DataFrame({"text": given, "label": labels}).to_csv(tmp_path / "t.csv", index=False)
    for number, (text, label) in enumerate(zip(given, labels, strict=True)):
        (folder := tmp_path / "t" / "ab"[label]).mkdir(parents=True, exist_ok=True)
        (folder / f"{number:03d}.txt").write_text(text, encoding="utf-8")
    model = network(shape)
    found = {}
    for name in ("t.npz", "t.csv", "t"):
        data = open_data(
            DataSpec(spec=tmp_path / name, target="label" if name == "t.csv" else None), model
        )
        pairs = [
            (bytes(np.ravel(x)[0]).decode(), int(np.ravel(y)[0]))
            for split in (data.train, data.val)
            if split is not None
            for x, y in split.in_order(1).as_numpy_iterator()
        ]
        found[name] = sorted(pairs)
    expected = sorted(zip(given.tolist(), labels.tolist(), strict=True))
    assert found["t.npz"] == found["t.csv"] == found["t"] == expected
    tuned = compress.finetune(model, tmp_path / "t.npz", epochs=12, lr=0.05)
    right = (answers(tuned.model, given.reshape(-1, *shape)) > 0.5)[:, 0] == labels
    assert right[2:].mean() > 0.9


def test_text_that_changes_changes_the_fingerprint() -> None:
    given, labels = texts()
    model = network()
    other = given.astype(object)
    other[3] = "another film"
    one, two = (open_data((x, labels), model).fingerprint for x in (given.astype(object), other))
    assert one != two


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (np.zeros((4, 3)), "the model takes text"),
        (np.array(["a", None, "b", "c"], object), "no text"),
        (np.array([["a", "b"]] * 4), "takes \\(\\) of text"),
    ],
)
def test_what_is_no_text_is_refused(given: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        open_data((given, np.arange(4) % 2), network())


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    for name, content in (("a", b"fine"), ("b", b"\xff\xfe\x00bad")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"0\.txt' is no text in UTF-8"):
        open_data(tmp_path, network())
