"""Generators of data: arrays, folders of images, tables."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
from fuzz_bytes import mutated
from fuzz_case import OUTPUT, Case
from hypothesis import strategies as st
from PIL import Image

_DTYPES = (
    "f4",
    "f8",
    "f2",
    "i8",
    "i4",
    "u1",
    "i1",
    "u8",
    "?",
    "g",
    "c8",
    "c16",
    "G",
    "U3",
    "S3",
    "U0",
    "M8[D]",
    "m8[s]",
    "O",
    "V4",
    "i4,f4",
    ">f4",
    ">i8",
)
_NAMES = (
    "x",
    "y",
    "x_train",
    "y_train",
    "x_val",
    "y_val",
    "x_test",
    "y_test",
    "x_train__input",
    "x_train__",
    "x__image",
    "y__out",
    "data_input",
    "data_target",
    "class_names",
    "x_valid",
    "z",
    "",
    "x_train__a__b",
    "train",
    "é",
)
_SHAPES: st.SearchStrategy[tuple[int, ...]] = st.one_of(
    st.sampled_from([(), (0,), (1,), (12,), (12, 4), (12, 8, 8, 1), (12, 8, 8), (1, 4), (0, 4)]),
    st.lists(st.sampled_from([0, 1, 2, 3, 4, 12]), max_size=4).map(tuple),
)
_VALUES = st.sampled_from(["ones", "steps", "negative", "nan", "inf", "huge", "random"])


@st.composite
def uses_of_data(draw: st.DrawFn, model: str, data: str) -> tuple[str, ...]:
    """A command line that reads data; seldom a slow one."""
    verb = draw(
        st.sampled_from(
            ["finetune"] * 5
            + ["doctor"] * 4
            + ["lr-find"] * 2
            + ["advise"]
            + ["sensitivity", "prune", "export"]
        )
    )
    words = [verb, model, "--data", data]
    if verb == "finetune":
        words += ["-o", f"{OUTPUT}.keras", "--epochs", "1", "--batch-size", "8"]
    if verb == "prune":
        words += ["-o", f"{OUTPUT}.keras", "--sparsity", "0.5", "--recover-epochs", "1"]
    if verb == "export":
        words += ["-o", OUTPUT, "--format", "tflite", "--quantize", "int8"]
    if verb == "lr-find":
        words += ["--steps", "10"]
    more = st.sampled_from(
        [
            (),
            (),
            (),
            ("--scale", "1/255"),
            ("--mean", "1,2,3"),
            ("--std", "1,2"),
            ("--resize", "9x9"),
            ("--validation-split", "0.999"),
            ("--loss", "mse"),
            ("--unlabelled",),
            ("--metric", "rmse"),
            ("--metric", "accuracy"),
            ("--mean", "1e39"),
            ("--std", "1e-45"),
        ]
    )
    return (*words, *draw(more))


def _array(dtype: str, shape: tuple[int, ...], how: str) -> Any:
    size = int(np.prod(shape, dtype=int))
    base = {
        "ones": np.ones(size),
        "steps": np.arange(size) % 3,
        "negative": -np.arange(size) - 1,
        "nan": np.full(size, np.nan),
        "inf": np.full(size, np.inf),
        "huge": np.full(size, 3e38),
        "random": np.random.default_rng(size).normal(size=size),
    }[how]
    with np.errstate(all="ignore"):
        if dtype == "O":
            return np.array([None] * size, object).reshape(shape)
        if dtype[0] in "V" or "," in dtype:
            return np.zeros(shape, dtype)
        if dtype[0] in "Mm":
            return np.arange(size).astype(dtype).reshape(shape)
        return base.astype(dtype).reshape(shape)


def npz(arrays: dict[str, Any]) -> bytes:
    """The bytes of an archive of arrays, whatever their names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, value in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(value), allow_pickle=True)
            archive.writestr(f"{name}.npy", member.getvalue())
    return out.getvalue()


@st.composite
def array_cases(draw: st.DrawFn) -> Case:
    """Archives of arrays of every type, shape and name, often close to what would be right."""
    model, shape = draw(st.sampled_from([("m.keras", (12, 4)), ("g.keras", (12, 8, 8, 1))]))
    arrays: dict[str, Any] = {"x": np.ones(shape, "f4"), "y": np.arange(12) % 3}
    if draw(st.booleans()):
        arrays = {"x_train": arrays["x"], "y_train": arrays["y"]}
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from([*arrays, *_NAMES]))
        chosen = draw(st.one_of(st.sampled_from([shape, (12,), (12, 3), (12, 1)]), _SHAPES))
        arrays[name] = _array(draw(st.sampled_from(_DTYPES)), chosen, draw(_VALUES))
    if draw(st.integers(0, 9)) == 0:
        arrays.pop(draw(st.sampled_from(sorted(arrays))))
    content = npz(arrays)
    if draw(st.integers(0, 4)) == 0:
        content = draw(mutated(content))
    words = draw(uses_of_data(model, "data.npz"))
    return Case("arrays", words, {"data.npz": content})


def picture(mode: str, size: tuple[int, int], form: str) -> bytes:
    """An image file of drawn values."""
    out = io.BytesIO()
    depth = {"L": 1, "RGB": 3, "RGBA": 4}.get(mode, 1)
    values = np.random.default_rng(7).integers(0, 255, (size[1], size[0], depth), np.uint8)
    Image.fromarray(values.squeeze(-1) if depth == 1 else values).convert(mode).save(out, form)
    return out.getvalue()


_FORMS = (
    ("L", "PNG"),
    ("RGB", "PNG"),
    ("RGBA", "PNG"),
    ("L", "JPEG"),
    ("RGB", "JPEG"),
    ("RGB", "BMP"),
    ("P", "GIF"),
    ("I", "TIFF"),
    ("RGB", "WEBP"),
    ("1", "PNG"),
    ("CMYK", "JPEG"),
    ("F", "TIFF"),
    ("I;16", "PNG"),
    ("LA", "PNG"),
)
_FOLDERS = (
    "a",
    "b",
    "c",
    "train/a",
    "train/b",
    "train/c",
    "val/a",
    "test/b",
    "inputs",
    "targets",
    "é",
    "\udcff",
    ".hidden",
    "train/\udce9",
)


@st.composite
def image_cases(draw: st.DrawFn) -> Case:
    """Folders of images: three classes with something added, changed or damaged."""
    good = picture("L", (8, 8), "PNG")
    prefix = draw(st.sampled_from(["", "train/"]))
    files = {f"d/{prefix}{c}/{i}.png": good for c in "abc" for i in range(3)}
    for number in range(draw(st.integers(1, 3))):
        mode, form = draw(st.sampled_from(_FORMS))
        content = picture(mode, draw(st.sampled_from([(8, 8), (1, 1), (300, 2)])), form)
        if draw(st.booleans()):
            content = draw(mutated(content))
        folder = draw(st.sampled_from([prefix + "a", prefix + "b", *_FOLDERS]))
        name = draw(st.sampled_from([f"n{number}", "\udcff\udcfe", "a" * 200, "é", "0", " "]))
        ending = draw(st.sampled_from([form.lower(), form.lower(), "png", "jpg", "txt", "PNG"]))
        files[f"d/{folder}/{name}.{ending}"] = content
    model = draw(st.sampled_from(["g.keras", "g.keras", "m.keras"]))
    return Case("images", draw(uses_of_data(model, "d")), files)


_CELLS = st.sampled_from(
    [
        "0",
        "1",
        "2",
        "0.5",
        "-3",
        "",
        "nan",
        "inf",
        "text",
        "é",
        '"a,b"',
        '"',
        "1e400",
        "9" * 400,
        "2020-01-01",
        "\x00",
        "true",
        "None",
        " ",
        "'",
        "1;2",
        "\ufeff",
        "0x10",
    ]
)


@st.composite
def table_cases(draw: st.DrawFn) -> Case:
    """Tables: numbers with odd cells, headers, lengths of rows and encodings."""
    header = ["a", "b", "c", "d", "t"]
    if draw(st.booleans()):
        header[draw(st.integers(0, 4))] = draw(st.sampled_from(["a", "t", "", "é", "1", "a.1"]))
    rows = [[*("0.1", "2", "3.5", "4"), str(i % 3)] for i in range(12)]
    for _ in range(draw(st.integers(0, 4))):
        row = rows[draw(st.integers(0, 11))]
        row[draw(st.integers(0, len(row) - 1))] = draw(_CELLS)
    if draw(st.integers(0, 3)) == 0:
        rows[draw(st.integers(0, 11))] += draw(st.lists(_CELLS, max_size=3))
    text = "\n".join(
        ",".join(row) for row in [header, *rows][: draw(st.sampled_from([0, 1, 2, 13]))]
    )
    content = text.encode(
        draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])), "replace"
    )
    if draw(st.integers(0, 3)) == 0:
        content = draw(mutated(content))
    ending = draw(st.sampled_from(["csv", "csv", "csv", "parquet"]))
    words = draw(uses_of_data("m.keras", f"data.{ending}"))
    target = draw(st.sampled_from([("--target", "t")] * 4 + [("--target", "a"), ()]))
    return Case("tables", (*words, *target), {f"data.{ending}": content})
