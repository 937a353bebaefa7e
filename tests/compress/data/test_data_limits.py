"""Data that would hang or fill memory is refused before it is read, in one line that names it."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import keras
import numpy as np
import pandas
import pytest
from PIL import Image

from edgepress.compress import open_data
from edgepress.compress.data.readers.images.image_files import check_images
from edgepress.compress.data.readers.images.reading import ImageReading
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.files import read_json
from edgepress.compress.models.guarding.limits import VARIABLE
from edgepress.compress.specs.recipe import DataSpec
from edgepress.compress.specs.yaml_text import read_yaml


@pytest.fixture(scope="module")
def dense() -> keras.Model:
    """A model of rows of two numbers."""
    x = keras.Input((2,), name="x")
    return keras.Model(x, keras.layers.Dense(3, activation="softmax")(x))


def _declared_png(path: Path, width: int, height: int) -> Path:
    """The head of a PNG file of that size, with no pixels behind it."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("side", [9_500, 20_000, 100_000])
@pytest.mark.filterwarnings("error")
def test_images_of_too_many_pixels_are_not_decoded(side: int, tmp_path: Path) -> None:
    path = str(_declared_png(tmp_path / "a.png", side, side))
    for read in (lambda: check_images([path]), lambda: check_images([path], most_bytes=0)):
        with pytest.raises(InputError, match=r"declares .* pixels, above the limit of 89,478,485"):
            read()


def test_an_image_that_grew_since_it_was_checked(tmp_path: Path) -> None:
    path = str(_declared_png(tmp_path / "a.png", 20_000, 20_000))
    with pytest.raises(InputError, match="above the limit of 89,478,485; scale it down"):
        ImageReading((8, 8), 3).read(path)


def test_large_images_are_read(tmp_path: Path) -> None:
    Image.new("L", (4000, 3000)).save(tmp_path / "a.png")
    check_images([str(tmp_path / "a.png")])


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.npz"])
def test_a_pipe_is_no_data(name: str, tmp_path: Path, dense: keras.Model) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="is a pipe, not a file"):
        open_data(DataSpec(spec=str(tmp_path / name), target="t"), dense)


def test_a_device_is_no_data(tmp_path: Path, dense: keras.Model) -> None:
    (tmp_path / "a.csv").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is a device or a socket, not a file"):
        open_data(DataSpec(spec=str(tmp_path / "a.csv"), target="t"), dense)


def test_pipes_are_no_recipe_and_no_record(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    with pytest.raises(InputError, match="is a pipe, not a file"):
        read_yaml(tmp_path / "a", "recipe")
    with pytest.raises(InputError, match="is a pipe, not a file"):
        read_json(tmp_path / "a")


def _table(tmp_path: Path, text: str) -> DataSpec:
    (tmp_path / "a.csv").write_text(text)
    return DataSpec(spec=str(tmp_path / "a.csv"), target="t")


def test_the_cells_of_a_table_fit_in_memory(
    tmp_path: Path, dense: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = _table(tmp_path, "a,b,t\n" + "0.125,0.25,1\n" * 200)
    monkeypatch.setenv(VARIABLE, "0.000005")
    with pytest.raises(InputError, match=r"has 2\.6 kB but declares contents of 7\.2 kB"):
        open_data(spec, dense)
    monkeypatch.delenv(VARIABLE)
    assert open_data(spec, dense).training_split.size == 160


def test_the_rows_that_a_parquet_file_declares_fit_in_memory(
    tmp_path: Path, dense: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    pandas.DataFrame({name: np.zeros(100_000) for name in "abt"}).to_parquet(path)
    assert path.stat().st_size < 10_000  # a run of one value takes next to nothing
    monkeypatch.setenv(VARIABLE, "0.001")
    with pytest.raises(InputError, match=r"declares contents of 3\.6 MB"):
        open_data(DataSpec(spec=str(path), target="t"), dense)


def test_values_that_a_parquet_file_repeats_fit_in_memory(
    tmp_path: Path, dense: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, count = tmp_path / "a.parquet", 200_000
    pandas.DataFrame({"x": ["long" * 50] * count, "t": np.zeros(count)}).to_parquet(path)
    assert path.stat().st_size < 10_000
    monkeypatch.setenv(VARIABLE, "0.02")
    with pytest.raises(InputError, match=r"'.*a\.parquet' has .* kB but declares contents of"):
        open_data(DataSpec(spec=str(path), target="t"), dense)


def test_a_folder_that_can_not_be_listed_is_not_left_out(
    tmp_path: Path, dense: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("L", (2, 2)).save(tmp_path / name / "1.png")
    plain = os.scandir

    def refusing(path: str) -> object:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(InputError, match=r"'.*/b': Permission denied"):
        open_data(str(tmp_path), dense)


@pytest.mark.parametrize("end", ["\n1\n", ""])
def test_a_header_of_very_many_columns(end: str, tmp_path: Path, dense: keras.Model) -> None:
    spec = _table(tmp_path, "t," + ",".join(f"c{i}" for i in range(100_000)) + end)
    with pytest.raises(InputError, match="has 100,001 columns or more"):
        open_data(spec, dense)


def test_a_zero_byte_far_into_a_table(tmp_path: Path, dense: keras.Model) -> None:
    spec = _table(tmp_path, "a,b,t\n" + "1.25,2.5,0\n" * 120_000 + "1,\0,2\n")
    with pytest.raises(InputError, match=r"a\.csv:120002' holds a zero byte"):
        open_data(spec, dense)


def test_images_are_not_resized_to_what_the_model_does_not_take(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.new("L", (8, 8), number).save(tmp_path / name / f"{number}.png")
    for height, refused in ((8, True), (None, False)):
        x = keras.Input((height, 8, 1), name="image")
        y = keras.layers.GlobalAveragePooling2D()(x)
        model = keras.Model(x, keras.layers.Dense(3, activation="softmax")(y))
        spec = DataSpec(spec=str(tmp_path), resize=(9, 8))
        if refused:
            with pytest.raises(InputError, match=r"--resize 9x8 makes images .* its size is 8x8"):
                open_data(spec, model)
        else:
            assert open_data(spec, model).train is not None


REPEATED = "\n".join(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 9)}]" for i in range(1, 7))
NAMES = "data.yaml"
LABELS = "labels/train/0.txt"
MARKS = "Annotations/0.xml"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (LABELS, "999999999999 .5 .5 .2 .2", "class 999999999999 of classes without names"),
        (NAMES, f"k0: &k0 x\n{REPEATED}\nnames: [*k6]\n", "aliases repeat one another"),
        (
            NAMES,
            f"a: &a {'x' * 9000}\nnames: [{', '.join(['*a'] * 900)}]\n",
            "aliases repeat one another",
        ),
        (NAMES, "names: [[cat, lion], dog]", "name is one text"),
        (LABELS, None, "is a pipe, not a file"),
        (MARKS, None, "is a pipe, not a file"),
    ],
)
def test_files_of_boxes_are_bounded(
    name: str, text: str | None, message: str, tmp_path: Path
) -> None:
    image = tmp_path / ("JPEGImages/0.jpg" if name == MARKS else "images/train/0.png")
    marks = tmp_path / (MARKS if name == MARKS else LABELS)
    for path in (image, marks):
        path.parent.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(image)
    if name == NAMES:
        marks.write_text("0 .5 .5 .2 .2")
    if text is None:
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).write_text(text)
    x = keras.Input((8, 8, 3))
    with pytest.raises(InputError, match=message):
        open_data(DataSpec(spec=str(tmp_path)), keras.Model(x, keras.layers.Flatten()(x)))
