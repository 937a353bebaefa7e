"""The order of classes that a model names: used and said, or refused where data has another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from edgepress.compress import DataSpec, InputError, load
from edgepress.compress.data import open_data
from edgepress.compress.models.class_lists.parsing import of_text

OURS = ("red", "green", "blue")  # not the order of the alphabet
COLOURS = {"red": 0, "green": 1, "blue": 2}


@keras.saving.register_keras_serializable("tests")
class Naming(keras.layers.Layer):
    """A last layer that keeps the names of its classes."""

    def __init__(self, class_names: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.class_names = list(class_names)

    def call(self, inputs: Any) -> Any:
        return inputs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "class_names": list(self.class_names)}


def network(names: Any = None, classes: int = 3) -> keras.Model:
    inputs = keras.Input((4, 4, 3))
    x = layers.GlobalAveragePooling2D()(inputs)
    x = layers.Dense(classes, activation="softmax")(x)
    return keras.Model(inputs, x if names is None else Naming(names)(x))


def photos(root: Path, names: Any = OURS, count: int = 4) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng(number).integers(0, 90, (4, 4, 3), np.uint8)
            pixels[..., COLOURS.get(name.lower(), 0)] += 100
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def numbers(data: Any) -> dict[str, int]:
    """The number of each folder as it is read."""
    found = {}
    for split in (data.train, data.val):
        source: Any = split.source
        found |= {
            Path(path).parent.name: int(label)
            for path, label in zip(source.paths, source.labels(), strict=True)
        }
    return found


def beside(tmp_path: Path, name: str, text: str) -> keras.Model:
    (folder := tmp_path / "model").mkdir()
    network().save(folder / "m.keras")
    (folder / name).write_text(text)
    return load(folder / "m.keras")


FILES = {
    "classes.txt": "red\ngreen\nblue\n",
    "labels.txt": "0 red\n1 green\n2 blue\n",
    "class_indices.json": json.dumps({"green": 1, "blue": 2, "red": 0}),
    "config.json": json.dumps({"id2label": {"0": "Red", "1": "Green", "2": "Blue"}}),
}


@pytest.mark.parametrize("name", FILES)
def test_a_list_beside_the_model_numbers_the_folders(tmp_path: Path, name: str) -> None:
    model = beside(tmp_path, name, FILES[name])
    data = open_data(photos(tmp_path / "d"), model)
    assert numbers(data) == COLOURS
    assert data.class_names == OURS
    assert f"{name}' names them: 0 " in " ".join(data.warnings)


@pytest.mark.parametrize("saved", [False, True])
def test_a_list_that_a_layer_keeps_numbers_folders_and_text_labels(
    tmp_path: Path, saved: bool
) -> None:
    model = network(OURS)
    if saved:
        model.save(tmp_path / "m.keras")
        model = load(tmp_path / "m.keras")
    assert numbers(open_data(photos(tmp_path / "d"), model)) == COLOURS
    texts = np.array(["blue", "red"] * 10)  # one class fewer than the model has
    data = open_data({"x": np.zeros((20, 4, 4, 3), np.float32), "y": texts}, model)
    assert data.class_names == OURS
    labels = np.concatenate([s.source.labels() for s in (data.train, data.val)])  # type: ignore
    assert set(labels.tolist()) == {0, 2}


def test_fewer_folders_than_the_list_keep_their_numbers(tmp_path: Path) -> None:
    data = open_data(photos(tmp_path / "d", ("Blue", "red")), network(OURS))
    assert numbers(data) == {"Blue": 2, "red": 0}
    assert data.class_names == ("red", "green", "Blue")


def test_what_contradicts_the_list_is_refused(tmp_path: Path) -> None:
    model = network(OURS)
    with pytest.raises(InputError, match=r"class 'grey', and .*names 0 red"):
        open_data(photos(tmp_path / "other", ("blue", "grey", "red")), model)
    root = photos(tmp_path / "d")
    (root / "classes.txt").write_text("blue\ngreen\nred\n")
    with pytest.raises(InputError, match="numbers its classes 0 blue"):
        open_data(root, model)
    given = open_data(DataSpec(spec=root, classes=("blue", "green", "red")), model)
    assert numbers(given)["blue"] == 0
    assert "--classes names another order" in " ".join(given.warnings)
    named = {"x": np.zeros((6, 4, 4, 3)), "y": np.arange(6) % 3, "class_names": sorted(OURS)}
    with pytest.raises(InputError, match="numbers its classes 0 blue"):
        open_data(named, model)


def test_a_list_of_something_else_changes_nothing(tmp_path: Path) -> None:
    model = beside(tmp_path, "labels.txt", "a\nb\nc\n")  # beside the model, of other classes
    data = open_data(photos(tmp_path / "d"), model)
    assert numbers(data) == {"blue": 0, "green": 1, "red": 2}
    model = beside(tmp_path / "model", "labels.txt", "a\nb\n")  # of another model
    assert numbers(open_data(tmp_path / "d", model)) == {"blue": 0, "green": 1, "red": 2}
    data = open_data(photos(tmp_path / "n", ("0", "1", "2")), network(OURS))
    assert numbers(data) == {"0": 0, "1": 1, "2": 2}


def test_lists_in_texts() -> None:
    assert of_text("{0: 'a', 1: 'b'}") == of_text('{"0": "a", "1": "b"}') == ("a", "b")
    assert of_text('{"b": 1, "a": 0}') == of_text("['a', 'b']") == of_text("a; b") == ("a", "b")
    assert of_text("1 a\n2 b") == of_text("a\nb") == ("a", "b")
    for text in ("{0: 'a', 2: 'b'}", "[1, 2]", "{'a'", "__import__('os')", "[" * 10_000):
        assert len(of_text(text)) < 2
