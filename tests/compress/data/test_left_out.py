"""What lies in the data and would be left out or misread: refused, or said in a note."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

from edgepress.compress import DataSpec, InputError
from edgepress.compress.data import open_data

CLASSES = ("a", "b", "c")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    inputs = keras.Input((4, 4, 3))
    x = layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


@pytest.fixture(scope="module")
def vectors() -> keras.Model:
    inputs = keras.Input((2,), name="x")
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="out")(inputs))


@pytest.fixture(scope="module")
def segmenter() -> keras.Model:
    inputs = keras.Input((4, 4, 3))
    return keras.Model(inputs, layers.Conv2D(3, 1, activation="softmax")(inputs))


def photos(root: Path, names: tuple[str, ...] = CLASSES, count: int = 3) -> Path:
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = np.random.default_rng(number).integers(0, 255, (4, 4, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def beside(*parts: str) -> Callable[[Path], None]:
    return lambda root: photos(root.joinpath(*parts)) and None


def listed(name: str, text: str) -> Callable[[Path], None]:
    return lambda root: (root / name).write_text(text) and None


REFUSED = {
    "the split dev": ("train", beside("dev"), {}, "'val'"),
    "labels.txt": (".", listed("labels.txt", "c\nb\na\n"), {}, "--classes c,b,a"),
    "numbered labels": (".", listed("labels.txt", "0 c\n1 b\n2 a\n"), {}, "--classes c,b,a"),
    "names in JSON": (".", listed("names.json", '["b", "a", "c"]'), {}, "--classes b,a,c"),
    "numbers by name": (
        ".",
        listed("class_indices.json", json.dumps({"a": 2, "b": 0, "c": 1})),
        {},
        "--classes b,c,a",
    ),
    "names by number": (
        ".",
        listed("index.json", json.dumps({"0": "c", "1": "a", "2": "b"})),
        {},
        "--classes c,a,b",
    ),
    "a class too many": (".", lambda root: None, {"classes": "a,b,c,d"}, "4 classes are named"),
    "a column of a folder": (".", lambda root: None, {"target": "y"}, "names a column"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_class_folders_that_leave_something_in_doubt_are_refused(
    case: str, tmp_path: Path, model: keras.Model
) -> None:
    inside, change, options, told = REFUSED[case]
    photos(tmp_path / "d" / inside)
    change(tmp_path / "d")
    with pytest.raises(InputError) as error:
        open_data(DataSpec(spec=tmp_path / "d", **options), model)
    assert told in f"{error.value.message} {error.value.hint}"


NOTED = {
    "a folder that is no split": ("train", beside("holdout"), "holdout' is not read"),
    "classes beside splits": ("train", beside(), "a' is not read"),
    "other files": (".", listed("a/7.heic", "x"), "1 other files in the class folders"),
    "an image beside the classes": (
        ".",
        lambda r: Image.new("RGB", (4, 4)).save(r / "9.png"),
        "lie in no class folder",
    ),
}


@pytest.mark.parametrize("case", NOTED)
def test_what_is_not_read_is_said(case: str, tmp_path: Path, model: keras.Model) -> None:
    inside, change, told = NOTED[case]
    photos(tmp_path / "d" / inside)
    change(tmp_path / "d")
    assert told in " ".join(open_data(tmp_path / "d", model).warnings)


def test_a_tidy_folder_has_no_notes(tmp_path: Path, model: keras.Model) -> None:
    for split in ("train", "val", "test"):
        photos(tmp_path / split)
    (tmp_path / "train" / "a" / "Thumbs.db").write_text("x")
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    told = " ".join(open_data(DataSpec(spec=tmp_path, scale="1/255"), model).warnings)
    assert "not read" not in told
    assert "numbered" not in told


def test_numbers_in_names_and_negative_ones(tmp_path: Path, model: keras.Model) -> None:
    photos(tmp_path / "t", ("class_2", "class_10", "class_1"))
    told = " ".join(open_data(tmp_path / "t", model).warnings)
    assert "0 class_1, 1 class_10, 2 class_2" in told
    photos(tmp_path / "n", ("-1", "0", "1"))
    with pytest.raises(InputError, match="no class numbers"):
        open_data(tmp_path / "n", model)


def pairs(root: Path, ending: str = "png", spare: int = 0) -> Path:
    random = np.random.default_rng(0)
    for side in ("inputs", "targets"):
        (root / side).mkdir(parents=True)
    for number in range(4 + spare):
        mask = random.integers(0, 3, (4, 4), np.uint8)
        Image.fromarray(mask).save(root / "targets" / f"{number}.{ending}")
        if number < 4:
            pixels = random.integers(0, 255, (4, 4, 3), np.uint8)
            Image.fromarray(pixels).save(root / "inputs" / f"{number}.png")
    return root


def test_masks(tmp_path: Path, segmenter: keras.Model) -> None:
    with pytest.raises(InputError, match="lossy"):
        open_data(pairs(tmp_path / "blurred", "jpg"), segmenter)
    told = " ".join(open_data(pairs(tmp_path / "spare", spare=2), segmenter).warnings)
    assert "2 images in targets/ have no input" in told
    named = pairs(tmp_path / "named")
    (named / "inputs").rename(named / "images")
    (named / "targets").rename(named / "masks")
    with pytest.raises(InputError, match="images, masks") as error:
        open_data(named, segmenter)
    assert "inputs/" in error.value.hint


X = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
TEXTS = np.array(["low", "high", "mid"] * 10)


def test_the_order_of_text_labels_is_the_one_that_is_named(
    tmp_path: Path, vectors: keras.Model
) -> None:
    order = ("low", "mid", "high")
    np.savez(tmp_path / "d.npz", x=X, y=TEXTS)
    rows = [f"{a},{b},{label}" for (a, b), label in zip(X, TEXTS, strict=True)]
    (tmp_path / "d.csv").write_text("\n".join(["a,b,label", *rows]))
    for spec in (
        DataSpec(spec=tmp_path / "d.npz", classes=order),
        DataSpec(spec=tmp_path / "d.csv", target="label", classes=order),
        DataSpec(spec={"x": X, "y": TEXTS.astype(object)}, classes=order),
    ):
        data = open_data(spec, vectors)
        assert data.class_names == order
        source: Any = data.train.source  # type: ignore[union-attr]
        numbers = {
            tuple(x): int(y) for x, y in zip(source.inputs["x"], source.targets, strict=True)
        }
        for row, label in zip(X, TEXTS, strict=True):
            if tuple(row) in numbers:
                assert order[numbers[tuple(row)]] == label
    with pytest.raises(InputError, match="'mid' isn't among"):
        open_data(DataSpec(spec={"x": X, "y": TEXTS}, classes=("low", "high", "top")), vectors)


ARRAYS = {
    "a name too few": ({"class_names": ["a", "b"]}, {}, "2 classes are named"),
    "two texts for three outputs": (
        {"y": np.array(["a", "b"] * 15)},
        {},
        "2 classes are named (a, b), output 'out' tells 3 apart",
    ),
    "weights by class": ({"sample_weight": np.ones((30, 3))}, {}, "sample_weight has (3,)"),
    "a size of vectors": ({}, {"resize": "8x8"}, "--resize is for images"),
    "a column of arrays": ({}, {"target": "y"}, "--target has no effect"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_and_options_that_mean_nothing_are_refused(case: str, vectors: keras.Model) -> None:
    arrays, options, told = ARRAYS[case]
    given = {"x": X, "y": np.arange(30) % 3, **arrays}
    with pytest.raises(InputError) as error:
        open_data(DataSpec(spec=given, **options), vectors)
    assert told in str(error.value.message)


def test_streams_of_texts_and_such_as_fail_are_one_line(vectors: keras.Model) -> None:
    texts = tf.data.Dataset.from_tensor_slices((X, TEXTS)).batch(8)
    with pytest.raises(InputError, match="targets are texts"):
        open_data({"train": texts, "test": (X, np.arange(30) % 3)}, vectors)

    def failing() -> Any:
        yield X[0], 0
        raise KeyError("gone")

    signature = (tf.TensorSpec((2,)), tf.TensorSpec((), tf.int64))
    stream = tf.data.Dataset.from_generator(failing, output_signature=signature).batch(8)
    with pytest.raises(InputError) as error:
        open_data({"train": stream, "test": (X, np.arange(30) % 3)}, vectors)
    assert "gone" in error.value.message
    assert "Traceback" not in error.value.message


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("X_test", "x_test"), ("testX", "x_test"), ("xtest", "x_test"), ("test_y", "y_test"),
        ("valImages", "x_val"), ("train_labels", "y_train"), ("y_dev", "y_val"),
        ("features", "x"), ("sample_weight_trian", "sample_weight_train"),
        ("train_weights", "sample_weight_train"), ("classes", "class_names"),
        ("validation", "val"), ("x_tset", "x_test"), ("y_vall", "y_val"),
        ("x_holdout", "x_test"), ("holdout_y", "y_test"),
    ],
)  # fmt: skip
def test_arrays_under_nearly_the_right_name_are_refused(
    given: str, meant: str, vectors: keras.Model
) -> None:
    data = {"x_train": X, "y_train": np.arange(30) % 3, given: X}
    with pytest.raises(InputError) as error:
        open_data(data, vectors)
    assert f"'{given}' is not read" in error.value.message
    assert f"'{meant}'" in error.value.hint
    others = {name: value for name, value in data.items() if name != given}
    beside = {"subject": X, "x_mean": X[0], "y_names": np.array(["a", "b", "c"])}
    other = open_data({**others, **beside}, vectors)
    assert "not read: subject, x_mean, y_names" in " ".join(other.warnings)


@pytest.mark.parametrize(
    ("given", "value", "hint"),
    [
        ("x_extra", X, "splits are named x_train"),
        ("x2", X, "splits are named x_train"),
        ("y_true", np.arange(30), "splits are named y_train"),
        ("class_weight", np.ones(3), "--class-weights"),
        ("pos_weights", np.ones(3), "--positive-weights"),
        ("loss_weights", np.ones(1), "--loss-weight"),
        ("group_ids", np.arange(30), "--group-by"),
    ],
)
def test_arrays_that_hold_samples_or_settings_are_refused(
    given: str, value: Any, hint: str, vectors: keras.Model
) -> None:
    data = {"x_train": X, "y_train": np.arange(30) % 3}
    with pytest.raises(InputError) as error:
        open_data({**data, given: value}, vectors)
    assert f"'{given}' is not read" in error.value.message
    assert hint in error.value.hint


@pytest.mark.parametrize("given", ["x_val", "sample_weight"])
def test_arrays_beside_splits_are_refused(given: str, vectors: keras.Model) -> None:
    with pytest.raises(InputError) as error:
        open_data({"train": (X, np.arange(30) % 3), given: X}, vectors)
    assert "is not read beside splits" in error.value.message
    assert "'val': (x, y)" in error.value.hint


def test_samples_of_different_shapes_are_refused_where_they_are_no_sequences(
    vectors: keras.Model, model: keras.Model
) -> None:
    ragged = {"x": [[1.0, 2.0], [1.0]] * 5, "y": np.arange(10) % 3}
    with pytest.raises(InputError, match=r"such as \(2,\) and \(1,\)"):
        open_data(ragged, vectors)
    images = [np.zeros((4 + n % 2, 4, 3), np.float32) for n in range(6)]
    with pytest.raises(InputError, match="different shapes"):
        open_data({"x": images, "y": np.arange(6) % 3}, model)
