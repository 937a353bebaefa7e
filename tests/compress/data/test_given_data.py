"""Data that no model can take is refused when it is opened, in one line that names it."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from edgepress.compress import open_data
from edgepress.compress.data.readers.images.image_files import check_images
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec

X, Y = np.ones((12, 4), np.float32), np.arange(12) % 3


@pytest.fixture(scope="module")
def dense() -> keras.Model:
    """A model of rows of four numbers, with three classes."""
    x = keras.Input((4,), name="x")
    return keras.Model(x, keras.layers.Dense(3, activation="softmax")(x))


@pytest.fixture(scope="module")
def grey() -> keras.Model:
    """A model of grey images."""
    x = keras.Input((8, 8, 1), name="image")
    flat = keras.layers.Flatten()(x)
    return keras.Model(x, keras.layers.Dense(2, activation="softmax")(flat))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "one and named": ({"x_train": X, "x_train__x": X, "y_train": Y}, "'x_train__x' stands beside"),
    "named and one": ({"x_train__x": X, "x_train": X, "y_train": Y}, "'x_train' stands beside"),
    "two of a split": ({"x_val": X, "x_valid": X, "y_val": Y}, "'x_valid' stands beside"),
    "a number": ({"x": np.float32(1), "y": Y}, "a single value"),
    "a number as target": ({"x": X, "y": np.int64(1)}, "a single value"),
    "complex": ({"x": X.astype(complex), "y": Y}, "complex128"),
    "structured": ({"x": np.zeros(12, "i4,f4"), "y": Y}, "holds"),
    "times": ({"x": X, "y": Y.astype("M8[D]")}, "datetime64"),
    "objects": ({"x": X.astype(object), "y": Y}, "Python objects"),
    "no samples": ({"x": X[:0], "y": Y[:0]}, "no samples"),
    "other lengths": ({"x": X, "y": Y[:5]}, "numbers of samples differ"),
    "classes beyond": ({"x": X, "y": Y + 5}, "labels run from 5 to 7"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arrays_are_refused_by_name(name: str, dense: keras.Model) -> None:
    given, says = REFUSED[name]
    with pytest.raises(InputError, match=says):
        open_data(given, dense)


@pytest.mark.parametrize("dtype", ["g", ">f4", ">f8", "f2", "i1"])
def test_numbers_of_any_type_are_read(dtype: str, dense: keras.Model) -> None:
    data = open_data({"x": X.astype(dtype), "y": Y.astype(">i8")}, dense)
    inputs, targets = data.training_split.sample(4)
    assert inputs["x"].dtype == np.float32
    assert (inputs["x"] == 1).all()
    assert set(targets) <= {0, 1, 2}


@pytest.mark.parametrize("option", ["mean", "std"])
def test_as_many_numbers_as_channels(option: str, grey: keras.Model) -> None:
    images = {"x": np.ones((12, 8, 8, 1)), "y": Y % 2}
    with pytest.raises(InputError, match=rf"--{option} has 3 numbers.* 1 channels"):
        open_data(DataSpec(spec=images, **{option: (1.0, 2.0, 3.0)}), grey)
    open_data(DataSpec(spec=images, **{option: (2.0,)}), grey)


def jpeg() -> bytes:
    """A JPEG file of drawn values."""
    out = io.BytesIO()
    values = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    Image.fromarray(values).save(out, "JPEG")
    return out.getvalue()


def damaged_jpeg() -> bytes:
    """One that lost a table, with header and end mark whole."""
    whole = jpeg()
    start = whole.index(b"\xff\xdb")
    stop = whole.index(b"\xff\xc0")
    return whole[:start] + whole[stop:]


def damaged_png() -> bytes:
    """One whose checksums are right, and whose pixels aren't packed as they should."""
    import struct
    import zlib

    out = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(out, "PNG")
    whole = out.getvalue()
    start = whole.index(b"IDAT") - 4
    body = b"IDAT" + b"\xff" * 20
    part = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return whole[:start] + part + whole[whole.index(b"IEND") - 4 :]


@pytest.mark.parametrize(("make", "ending"), [(damaged_jpeg, "jpg"), (damaged_png, "png")])
def test_an_image_that_cannot_be_decoded_is_named_at_once(
    make: Any, ending: str, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.jpg", tmp_path / f"bad.{ending}"
    good.write_bytes(jpeg())
    bad.write_bytes(make())
    check_images([str(good)])
    with pytest.raises(InputError, match=f"bad.{ending}' is not a readable image"):
        check_images([str(good), str(bad)])
    # So much is not decoded where files are many: end marks and checksums are whole.
    check_images([str(good), str(bad)], most_bytes=0)


def test_names_of_files_and_folders_need_not_be_text(tmp_path: Path, grey: keras.Model) -> None:
    for name in (b"a\xff", b"b"):
        folder = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118
        os.mkdir(folder)  # noqa: PTH102
        for number in range(3):
            Path(os.fsdecode(folder), f"\udcfe{number}.jpg").write_bytes(jpeg())
    data = open_data(str(tmp_path), grey)
    assert data.class_names == ("a�", "b")
    assert data.training_split.sample(2)[0]["image"].shape == (2, 8, 8, 1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a,b,c,d,t\n1,2,3,4,0,5,6\n1,2,3,4,1\n", "more cells than the 5 columns"),
        (b"a,b,c,d,t\n1,2,3,4,0\n1,2,3,4,1,7\n", "can't be read as a table"),
        (b"a,t,c,d,t\n1,2,3,4,0\n", "t.csv:1' names column 't' twice"),
        (b"a,b,c,d,t\n1,2\x00,3,4,0\n", "t.csv:2' holds a zero byte"),
        (b"", "t.csv' can't be read as a table"),
        ("a,b,c,d,t\n1,2,3,4,0\n".encode("utf-16"), "t.csv'"),
    ],
)
def test_tables_are_refused_by_name(
    content: bytes, says: str, tmp_path: Path, dense: keras.Model
) -> None:
    pytest.importorskip("pandas")
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=says):
        open_data(DataSpec(spec=str(tmp_path / "t.csv"), target="t"), dense)
