"""Class folders keep the numbers that the model was trained with, or are refused."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from edgepress.compress.data import open_data
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec


def _model(classes: int) -> keras.Model:
    activation = "sigmoid" if classes == 1 else "softmax"
    image = keras.Input((4, 4, 1))
    return keras.Model(
        image, keras.layers.Dense(classes, activation=activation)(keras.layers.Flatten()(image))
    )


def _images(root: Path, folders: list[str], each: int = 3) -> Path:
    for number, name in enumerate(folders):
        (root / name).mkdir(parents=True)
        for k in range(each):
            Image.fromarray(np.full((4, 4), 10 * number, np.uint8)).save(root / name / f"{k}.png")
    return root


def _labels(data) -> dict[int, int]:
    """The class of each grey level."""
    found = {}
    for split in (data.train, data.val):
        for inputs, targets in split.in_order(64).as_numpy_iterator():
            images = np.asarray(inputs)
            found |= {
                int(image.max()) // 10: int(label)
                for image, label in zip(images, np.asarray(targets).ravel(), strict=True)
            }
    return found


@pytest.mark.parametrize(
    ("folders", "classes", "numbers"),
    [
        (["0", "1", "2"], 3, [0, 1, 2]),
        (["0", "2", "3"], 4, [0, 2, 3]),
        (["00", "01", "02"], 3, [0, 1, 2]),
        (["cat", "ant", "bee"], 3, [2, 0, 1]),
        (["no", "yes"], 1, [0, 1]),
        (["0", "1"], 1, [0, 1]),
        (["cat", ".hidden", "ant"], 2, [1, None, 0]),
        (["cat", "__MACOSX", "ant"], 2, [1, None, 0]),
    ],
)
def test_folders_have_the_number_of_their_class(folders, classes, numbers, tmp_path) -> None:
    data = open_data(DataSpec(spec=_images(tmp_path / "f", folders)), _model(classes))
    want = {level: number for level, number in enumerate(numbers) if number is not None}
    assert _labels(data) == want


@pytest.mark.parametrize("by_file", [False, True])
def test_a_given_order_numbers_the_classes(by_file: bool, tmp_path) -> None:
    root, order = _images(tmp_path / "f", ["ant", "cat"]), ("dog", "cat", "ant")
    if by_file:
        (root / "classes.txt").write_text("\n".join(order) + "\n")
    spec = DataSpec(spec=root, classes=() if by_file else order)
    data = open_data(spec, _model(3))
    assert _labels(data) == {0: 2, 1: 1}
    assert data.class_names == order


@pytest.mark.parametrize(
    "order", ["dog,cat,ant", "dog, cat, ant", ["dog,cat,ant"], ["dog", "cat", "ant"]]
)
def test_an_order_is_read_as_people_write_it(order, tmp_path) -> None:
    spec = DataSpec(spec=_images(tmp_path / "f", ["ant", "cat"]), classes=order)
    assert _labels(open_data(spec, _model(3))) == {0: 2, 1: 1}


@pytest.mark.parametrize(("order", "names"), [([1, 0], ("1", "0")), (["a, b", "c"], ("a, b", "c"))])
def test_names_of_classes_may_be_numbers_and_hold_commas(order, names) -> None:
    assert DataSpec(spec="f", classes=order).classes == names


@pytest.mark.parametrize(
    ("folders", "classes", "order", "message"),
    [
        (["ant", "cat"], 3, (), "2 class folders, the model's output 3 classes"),
        (["ant", "cat", "dog"], 2, (), "3 class folders, the model's output 2 classes"),
        ([str(n) for n in range(12)], 12, (), "Keras numbers them as text"),
        (["1", "2", "3"], 3, (), "from 1 to 3"),
        (["ant", "cow"], 2, ("ant", "cat"), "folder 'cow'"),
        (["ant"], 2, ("ant", "ant"), "named twice"),
    ],
)
def test_what_leaves_a_number_in_doubt_is_refused(
    folders, classes, order, message, tmp_path
) -> None:
    spec = DataSpec(spec=_images(tmp_path / "f", folders), classes=order)
    with pytest.raises(InputError, match=message):
        open_data(spec, _model(classes))


def test_folders_in_the_order_of_text_can_be_said_to_be_so(tmp_path) -> None:
    names = tuple(sorted(str(n) for n in range(11)))
    spec = DataSpec(spec=_images(tmp_path / "f", [str(n) for n in range(11)]), classes=names)
    assert _labels(open_data(spec, _model(11)))[2] == names.index("2") == 3


def test_images_in_subfolders_of_a_class_are_read_and_said(tmp_path) -> None:
    root = _images(tmp_path / "f", ["ant/monday", "ant/tuesday", "cat"])
    data = open_data(DataSpec(spec=root), _model(2))
    assert data.train.size + data.val.size == 9
    assert any("6 of 9 images lie in subfolders" in note for note in data.warnings)


ARRAYS = {
    "X_test": "x_test",
    "Y_val": "y_val",
    "x_dev": "x_val",
    "labels_train": "y_train",
    "inputs_testing": "x_test",
    "y_Train__out": "y_train__out",
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_that_would_not_be_read_is_named_with_the_near_name(name: str) -> None:
    x, y = np.zeros((8, 4, 4, 1), np.float32), np.arange(8) % 2
    with pytest.raises(InputError) as caught:
        open_data({"x_train": x, "y_train": y, name: x}, _model(2))
    assert f"'{name}'" in caught.value.message
    assert f"'{ARRAYS[name]}'" in caught.value.hint


def test_sample_weights_beside_no_samples_are_refused_and_other_arrays_named() -> None:
    x, y = np.zeros((8, 4, 4, 1), np.float32), np.arange(8) % 2
    with pytest.raises(InputError, match="sample_weight_train"):
        open_data({"x": x, "y": y, "sample_weight_train": y}, _model(2))
    data = open_data({"x": x, "y": y, "recorded_at": y}, _model(2))
    assert any("not read: recorded_at" in note for note in data.warnings)


def test_a_split_of_another_name_is_refused_with_the_right_one() -> None:
    x, y = np.zeros((8, 4, 4, 1), np.float32), np.arange(8) % 2
    with pytest.raises(InputError) as caught:
        open_data({"train": (x, y), "validation": (x, y)}, _model(2))
    assert "'val'" in caught.value.hint
