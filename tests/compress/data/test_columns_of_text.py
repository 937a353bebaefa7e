"""Columns of text in a table: categories, or refused where text has an order of its own."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from edgepress.compress import DataSpec, InputError
from edgepress.compress.data import open_data
from edgepress.compress.data.readers.labels import numbered


@pytest.fixture(scope="module")
def model() -> keras.Model:
    inputs = keras.Input((2,))
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(inputs))


def opened(folder: Path, cells: list[str], model: keras.Model) -> str:
    """What is said of a table with these cells in a column."""
    rows = [f'"{cells[n % len(cells)]}",{n},{n % 2}' for n in range(24)]
    (folder / "t.csv").write_text("\n".join(["a,b,y", *rows]))
    return " ".join(open_data(DataSpec(spec=folder / "t.csv", target="y"), model).warnings)


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        (["-0.5kg", "0.25kg", "12kg"], "numbers with a unit"),
        (["5 kg", "6 kg"], "numbers with a unit"),
        (["$3", "$40", "$5"], "numbers with a unit"),
        (["1.5m/s2", "2m/s2", "3m/s2"], "numbers with a unit"),
        (["0.5kg", "300g", "2kg"], "numbers with a unit"),
        (["1e3Hz", "2e3Hz", "5e3Hz"], "numbers with a unit"),
        (["12%", "-3%"], "numbers with a unit"),
        (["1,005", "20,000"], "numbers with commas"),
        (["0,5", "-1,25"], "numbers with commas"),
        (["8:30", "12:05"], "times"),
        (["2024-01-02", "2023-12-31"], "dates"),
        (["01.03.2024", "02.03.2024"], "dates"),
    ],
)
def test_what_has_an_order_of_its_own_is_refused(
    cells: list[str], what: str, tmp_path: Path, model: keras.Model
) -> None:
    with pytest.raises(InputError, match=f"column 'a' holds {what}"):
        opened(tmp_path, cells, model)


@pytest.mark.parametrize(
    "cells",
    [["red", "green"], ["2nd", "3rd", "1st"], ["7a", "7b", "8c"], ["4wd", "2wd"], ["3D", "2D"],
     ["x1", "x2", "x3"], ["1.2.3", "1.2.4"]],
)  # fmt: skip
def test_names_are_categories(cells: list[str], tmp_path: Path, model: keras.Model) -> None:
    assert f"text read as 0 to {len(cells) - 1}" in opened(tmp_path, cells, model)


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (["no", "yes", "?"], (), "the target 'y' has gaps"),
        (["no", "yes", " - "], ("no", "yes"), "the target 'y' has gaps"),
        (["0", "1", "?"], (), "the target 'y' has gaps"),
        (["5 kg", "10 kg", "20 kg"], (), "column 'y' holds numbers with a unit"),
        (["2024-01-02", "2023-12-31"], (), "column 'y' holds dates"),
    ],
)
def test_a_column_of_labels_is_read_with_the_same_care(
    labels: list[str], classes: tuple[str, ...], message: str, tmp_path: Path, model: keras.Model
) -> None:
    rows = [f"{n},{n},{labels[n % len(labels)]}" for n in range(24)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,y", *rows]))
    with pytest.raises(InputError, match=message):
        open_data(DataSpec(spec=tmp_path / "t.csv", target="y", classes=classes), model)


def test_classes_that_are_named_may_look_like_quantities(
    tmp_path: Path, model: keras.Model
) -> None:
    rows = [f"{n},{n},{(5, 12)[n % 2]} V" for n in range(24)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,y", *rows]))
    spec = DataSpec(spec=tmp_path / "t.csv", target="y", classes=("12 V", "5 V"))
    assert open_data(spec, model).class_names == ("12 V", "5 V")


def test_labels_that_are_numbers_are_not_numbered_as_text() -> None:
    """The alphabet would put 10 behind 1."""
    for count, first in ((11, 0), (3, 1)):
        labels = np.array([str(first + n) for n in range(count)])
        with pytest.raises(InputError, match="numbers written as text"):
            numbered({"all": (labels, labels)})
    few = np.array(["1", "0", "2"])
    parts, names = numbered({"all": (few, few)})
    assert names == ("0", "1", "2")
    assert parts["all"][1].tolist() == [1, 0, 2]
