"""What people's files hold beside numbers: text, gaps, broken images, other encodings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from edgepress.compress import open_data
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(20, 4)).astype(np.float32)
Y = np.arange(20) % 2


def _model(*shape: int) -> keras.Model:
    inputs = keras.Input(shape, name="x")
    flat = keras.layers.Flatten()(inputs) if len(shape) > 1 else inputs
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax", name="y")(flat))


def _refusal(data: Any, model: keras.Model) -> str:
    with pytest.raises(InputError) as caught:
        open_data(data, model)
    line = caught.value.format_message()
    assert "\n" not in line
    return line


@pytest.mark.parametrize("kind", ["U", "S"])
def test_text_labels_are_numbered_over_all_splits(tmp_path: Path, kind: str) -> None:
    names = np.array(["dog", "cat"]).astype(kind)
    held = {"x_train": X, "y_train": names[Y], "x_test": X[:3] + 1, "y_test": names[[0, 0, 0]]}
    np.savez(tmp_path / "d.npz", **held)
    data = open_data(tmp_path / "d.npz", _model(4))
    assert data.class_names == ("cat", "dog")
    assert data.task.loss == "sparse_categorical_crossentropy"
    assert data.test.sample(3)[1].tolist() == [1, 1, 1]
    pair = {"train": (X, names[Y])}
    assert "not numbers" in _refusal(pair, _model(4))


def test_class_numbers_in_floats_are_classes() -> None:
    data = open_data({"x": X, "y": Y.astype(np.float32)}, _model(4))
    assert data.task.kind == "classification"
    assert data.train.sample(3)[1].dtype.kind == "i"


def test_a_file_of_another_kind_is_not_said_to_hold_objects(tmp_path: Path) -> None:
    (tmp_path / "d.npz").write_text("hello")
    assert "incomplete or corrupt .npz" in _refusal(tmp_path / "d.npz", _model(4))


def test_steps_of_different_width_are_refused() -> None:
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GRU(2)(inputs)))
    sequences = [np.zeros((3, 3)), np.zeros((4, 2))]
    assert "differ in length" in _refusal({"train": (sequences, np.arange(2))}, model)


def test_channels_that_come_first_are_seen() -> None:
    line = _refusal({"x": np.zeros((9, 3, 8, 8)), "y": np.zeros(9, int)}, _model(8, 8, 3))
    assert "channels last" in line


TABLES = {
    "latin": ("größe,b,y\n1,2,0\n".encode("latin-1"), "UTF-8"),
    "semicolons": (b"a;b;y\n1;2;0\n", "separated by ';'"),
    "no_rows": (b"a,b,y\n", "no rows"),
}


@pytest.mark.parametrize("name", TABLES)
def test_odd_tables_are_one_clear_line(name: str, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    content, says = TABLES[name]
    (tmp_path / "t.csv").write_bytes(content)
    assert says in _refusal(DataSpec(spec=tmp_path / "t.csv", target="y"), _model(2))


def _images(folder: Path, kind: str = "png") -> Path:
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for place in range(5):
            values = RANDOM.integers(0, 255, (9, 7, 3), np.uint8)
            Image.fromarray(values).save(folder / name / f"{place}.{kind}")
    return folder


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "bmp"])
def test_images_that_are_not_whole_are_named(tmp_path: Path, kind: str) -> None:
    folder = _images(tmp_path / "photos", kind)
    assert open_data(folder, _model(8, 8, 3)).train.size == 8
    raw = (folder / "a" / f"1.{kind}").read_bytes()
    (folder / "a" / f"1.{kind}").write_bytes(raw[: len(raw) // 2])
    (folder / "b" / f"2.{kind}").write_bytes(b"")
    line = _refusal(folder, _model(8, 8, 3))
    assert f"1.{kind}' is not a readable image" in line
    assert "and 1 more" in line


def test_folders_without_images_and_single_classes_are_told(tmp_path: Path) -> None:
    folder = _images(tmp_path / "photos")
    (folder / "c").mkdir()
    (folder / ".cache").mkdir()
    warnings = open_data(folder, _model(8, 8, 3)).warnings
    assert sum("holds no images, so it is no class" in line for line in warnings) == 1
    alone = open_data({"x": X, "y": np.zeros(20, int)}, _model(4)).warnings
    assert any("of one class" in line for line in alone)


def _table(path: Path, cells: list[str]) -> DataSpec:
    rows = [f"{cell},{k % 2}" for k, cell in enumerate(cells)]
    path.write_text("\n".join(["a,y", *rows]))
    return DataSpec(spec=path, target="y")


@pytest.mark.parametrize("gap", ["?", " ", "-", " ? "])
def test_marks_of_a_gap_leave_a_column_one_of_numbers(gap: str, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    cells = [gap if k == 3 else str(k) for k in range(20)]
    data = open_data(_table(tmp_path / "t.csv", cells), _model(1))
    assert any("'a': 1 gaps filled with its median 10" in note for note in data.warnings)
    assert data.train.sample(20)[0]["x"].max() == 19 or data.val.sample(20)[0]["x"].max() == 19


@pytest.mark.parametrize(
    ("cell", "other", "said"),
    [
        ("{}", "many", "holds 'many' among numbers"),
        ("{} kg", "7 kg", "numbers with a unit, such as '0 kg'"),
        ("{}%", "7 %", "numbers with a unit"),
        ("2024-01-{}", "2024-02-01 10:00", "holds dates, such as '2024-01-0'"),
        ("{}/1/2024", "1/1/24", "holds dates"),
    ],
)
def test_text_that_is_no_category_is_refused(cell, other, said, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    cells = [other if k == 3 else cell.format(k) for k in range(20)]
    assert said in _refusal(_table(tmp_path / "t.csv", cells), _model(1))


def test_names_with_figures_in_them_are_categories(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    data = open_data(_table(tmp_path / "t.csv", ["5b", "3D", "v1.2", "1-2"] * 5), _model(1))
    assert any("'a': text read as 0 to 3" in note for note in data.warnings)


def test_what_does_not_fit_is_told_what_would(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    assert "leave out those" in _refusal(_table(tmp_path / "t.csv", ["1", "2"] * 5), _model(3))
    assert "--resize" in _refusal({"x": np.zeros((20, 4, 4, 3)), "y": Y}, _model(8, 8, 3))
    assert "--loss" in _refusal({"x": X, "y": np.zeros((20, 5, 6))}, _model(4))


def test_numbers_that_are_looked_up_are_no_measured_values() -> None:
    layers = keras.layers
    code = keras.Input((1,), name="code")
    value = keras.Input((3,), name="value")
    x = layers.Concatenate()([layers.Flatten()(layers.Embedding(400, 2)(code)), value])
    model = keras.Model([code, value], layers.Dense(2, activation="softmax")(x))
    numbers = np.random.default_rng(0)
    codes, values = numbers.integers(0, 400, (60, 1)), numbers.normal(size=(60, 3))
    y = np.arange(60) % 2
    data = open_data(({"code": codes, "value": values}, y), model)
    assert data.input_range[1] < 10
    assert not any("does not rescale" in note for note in data.warnings)
    data = open_data(({"code": codes, "value": values + 200}, y), model)
    assert any("does not rescale" in note for note in data.warnings)


def test_accuracy_is_warned_of_where_it_is_the_metric() -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(inputs))
    x = np.random.default_rng(0).normal(size=(200, 3))
    y = (np.arange(200) % 12 == 0).astype(int)
    for metric, warned in (("accuracy", True), ("auc", False)):
        notes = " ".join(open_data(DataSpec(spec=(x, y), metric=metric), model).warnings)
        assert "imbalanced" in notes
        assert ("accuracy says little" in notes) == warned
