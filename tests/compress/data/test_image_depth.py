"""Values of images are never cut: what 8 bits can't hold is read as it is stored."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from edgepress.compress import open_data
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec

SIZE = 8


@functools.cache
def network(channels: int = 1) -> keras.Model:
    image = keras.Input((SIZE, SIZE, channels), name="image")
    flat = keras.layers.Flatten()(image)
    return keras.Model(image, keras.layers.Dense(2, activation="softmax")(flat))


def values(top: int, channels: int = 1, kind: Any = np.uint16) -> list[np.ndarray]:
    """Six images, the first ones so dark that 8 bits would hold them."""
    random = np.random.default_rng(top)
    tops = (100, 200, top // 3, top // 2, top, top)
    shape = (SIZE, SIZE) if channels == 1 else (SIZE, SIZE, channels)
    made = [random.integers(0, limit + 1, shape).astype(kind) for limit in tops]
    made[-1].flat[0] = top
    return made


def png(path: Path, image: np.ndarray) -> None:
    path.write_bytes(tf.io.encode_png(image if image.ndim == 3 else image[..., None]).numpy())


def tiff(path: Path, image: np.ndarray) -> None:
    Image.fromarray(image).save(path.with_suffix(".tif"))


def folder(
    root: Path, images: list[np.ndarray], write: Callable[[Path, np.ndarray], None] = png
) -> Path:
    for place, image in enumerate(images):
        (root / "ab"[place % 2]).mkdir(parents=True, exist_ok=True)
        write(root / "ab"[place % 2] / f"{place}.png", image)
    return root


def read(data: Any) -> list[np.ndarray]:
    """The images by the number of their file, as the model sees them."""
    found = {}
    for split in (data.train, data.val):
        images = np.concatenate([x for x, _ in split.in_order().as_numpy_iterator()])
        found |= {int(Path(p).stem): i for p, i in zip(split.source.paths, images, strict=True)}
    return [found[number] for number in range(len(found))]


@pytest.mark.parametrize(
    ("images", "write", "channels"),
    [
        (values(4095), png, 1),
        (values(65535), png, 1),
        (values(4095, 3), png, 3),
        (values(65535), tiff, 1),
        (values(100_000, kind=np.int32), tiff, 1),
        ([v / np.float32(4095) for v in values(4095)], tiff, 1),
        ([v.astype(np.float32) - 2000 for v in values(4095)], tiff, 1),
    ],
)
def test_deep_images_are_read_as_they_are_stored(images, write, channels, tmp_path) -> None:
    data = open_data(DataSpec(spec=folder(tmp_path, images, write)), network(channels))
    for found, image in zip(read(data), images, strict=True):
        np.testing.assert_array_equal(found, image.reshape(SIZE, SIZE, -1).astype(np.float32))
    assert any("read as they are stored" in note for note in data.warnings)


def test_the_scale_of_deep_images_is_named_unless_it_is_right(tmp_path: Path) -> None:
    root = folder(tmp_path, values(4095))
    for scale, said in ((None, True), (1 / 255, True), (1 / 4095, False)):
        data = open_data(DataSpec(spec=root, scale=scale), network())
        assert any("--scale 1/4095" in note for note in data.warnings) == said


def test_another_size_and_other_channels_keep_the_depth(tmp_path: Path) -> None:
    images = [np.full((2 * SIZE, SIZE), 300 * n, np.uint16) for n in range(1, 7)]
    for found, image in zip(
        read(open_data(folder(tmp_path, images), network(3))), images, strict=True
    ):
        np.testing.assert_array_equal(found, np.full((SIZE, SIZE, 3), image[0, 0], np.float32))


EIGHT = [np.full((SIZE, SIZE), 40 * n, np.uint8) for n in range(6)]


@pytest.mark.parametrize("other", [np.full((SIZE, SIZE), 900, np.uint16), np.eye(SIZE)])
def test_depths_that_do_not_mean_the_same_are_refused(other: np.ndarray, tmp_path: Path) -> None:
    root = folder(tmp_path, EIGHT)
    tiff(root / "b" / "6.tif", other.astype(np.float32) if other.dtype == float else other)
    with pytest.raises(InputError, match="mean the same"):
        open_data(root, network())


def test_all_splits_are_read_alike(tmp_path: Path) -> None:
    folder(tmp_path / "train", EIGHT)
    folder(tmp_path / "test", values(4095))
    with pytest.raises(InputError, match="mean the same"):
        open_data(tmp_path, network())


@pytest.mark.parametrize(
    ("image", "spec", "message"),
    [
        (np.full((SIZE, SIZE), np.nan, np.float32), {}, "NaN"),
        (np.full((SIZE, SIZE), 4000, np.uint16), {"preprocess": "tf"}, "for colour images"),
    ],
)
def test_what_makes_no_sense_is_one_line(image, spec, message, tmp_path: Path) -> None:
    root = folder(tmp_path, [image] * 6, tiff)
    with pytest.raises(InputError, match=message):
        open_data(DataSpec(spec=root, **spec), network())


def test_presets_are_for_eight_bits(tmp_path: Path) -> None:
    root = folder(tmp_path, values(4095, 3))
    with pytest.raises(InputError, match="for values from 0 to 255"):
        open_data(DataSpec(spec=root, preprocess="torch"), network(3))


def frames(path: Path, image: np.ndarray) -> None:
    first = Image.fromarray(image)
    path = path.with_suffix(".gif")
    first.save(path, save_all=True, append_images=[Image.fromarray(255 - image)])


RGBA = [np.dstack([np.full((SIZE, SIZE, 3), 9 * n, np.uint8), np.eye(SIZE, dtype=np.uint8)])
        for n in range(1, 7)]  # fmt: skip
OPAQUE = [np.dstack([i[..., :3], np.full((SIZE, SIZE), 255, np.uint8)]) for i in RGBA]
COLOURED = [i[..., :3] * np.array([1, 2, 3], np.uint8) for i in RGBA]


@pytest.mark.parametrize(
    ("images", "write", "channels", "said"),
    [
        (RGBA, png, 3, "alpha is left out"),
        (RGBA, png, 4, ""),
        (OPAQUE, png, 3, ""),
        (COLOURED, png, 1, "read as grey"),
        (COLOURED, png, 3, ""),
        (EIGHT, png, 1, ""),
        (EIGHT, frames, 1, "the first of each is read"),
    ],
)
def test_what_is_left_out_of_images_is_said(images, write, channels, said, tmp_path) -> None:
    notes = open_data(folder(tmp_path, images, write), network(channels)).warnings
    hints = ("left out", "read as grey", "is read")
    found = [note for note in notes if any(hint in note for hint in hints)]
    assert bool(found) == bool(said)
    assert all(said in note and "6 of 6 images" in note for note in found)


def test_colours_of_sixteen_bits_in_tiff_files_are_refused(tmp_path: Path) -> None:
    root = folder(tmp_path, EIGHT)
    # A TIFF file of one pixel, 16 bits a channel, which Pillow reads but doesn't write.
    tags = [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 3, 122), (259, 3, 1, 1), (262, 3, 1, 2),
            (273, 4, 1, 128), (277, 3, 1, 3), (278, 3, 1, 1), (279, 4, 1, 6)]  # fmt: skip
    content = b"II*\x00\x08\x00\x00\x00" + len(tags).to_bytes(2, "little")
    for tag, kind, count, value in tags:
        content += tag.to_bytes(2, "little") + kind.to_bytes(2, "little")
        content += count.to_bytes(4, "little") + value.to_bytes(4, "little")
    content += b"\0" * (122 - len(content)) + b"\x10\x00" * 3 + b"\x01\x02" * 3
    (root / "a" / "9.tif").write_bytes(content)
    with pytest.raises(InputError, match=r"9\.tif.*colours of 16 bits"):
        open_data(root, network())


@pytest.mark.parametrize("modes", [("RGB",), ("L", "RGB"), ("RGB", "RGBA"), ("P", "RGB")])
@pytest.mark.parametrize("channels", [1, 3])
def test_values_are_those_of_pillow_whichever_decoder_reads_them(
    tmp_path: Path, modes: tuple[str, ...], channels: int
) -> None:
    random = np.random.default_rng(0)
    for number in range(8):
        (folder := tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        pixels = random.integers(0, 256, (6, 5, 4), dtype=np.uint8)
        image = Image.fromarray(pixels).convert(modes[number % len(modes)])
        image.save(folder / f"{number}.png")
    inputs = keras.Input((6, 5, channels))
    outputs = keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(inputs))
    split = open_data(tmp_path, keras.Model(inputs, outputs)).training_split
    found = next(split.in_order(9).as_numpy_iterator())[0]
    for path, values in zip(split.source.paths, found, strict=True):  # type: ignore[attr-defined]
        with Image.open(path) as image:
            expected = np.asarray(image.convert("L" if channels == 1 else "RGB"))
        np.testing.assert_array_equal(values, expected.reshape(values.shape))
