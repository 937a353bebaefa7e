"""Target images: masks become class numbers whatever the file's mode, pictures are scaled."""

from __future__ import annotations

import functools
from collections.abc import Callable
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
SIZE = 16
COLOURS = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]


@functools.cache
def network(channels: int, activation: str | None = "softmax", size: int | None = SIZE):
    image = keras.Input((size, size, 3), name="image")
    layer = keras.layers.Conv2D(channels, 1, activation=activation, name="mask")
    return keras.Model(image, layer(image))


def numbers(count: int = 6, classes: int = 3) -> np.ndarray:
    """(count, 16, 16) masks in which every class occurs, in blocks of four pixels."""
    small = RANDOM.integers(0, classes, (count, 4, 4), np.uint8)
    small[:, 0, :classes] = np.arange(classes)[:4]
    return small.repeat(4, 1).repeat(4, 2)


def grey(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint8))


def palette(mask: np.ndarray) -> Image.Image:
    image = Image.frombytes("P", mask.shape[::-1], mask.astype(np.uint8).tobytes())
    image.putpalette(COLOURS + [0] * (756 - len(COLOURS)) + [224, 224, 192] * 4)
    return image


def of_colour(mask: np.ndarray) -> Image.Image:
    return palette(mask).convert("RGB")


def grey_in_rgb(mask: np.ndarray) -> Image.Image:
    return grey(mask).convert("RGB")


def sixteen_bits(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint16))


def one_bit(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(mask.astype(bool))


def white(mask: np.ndarray) -> Image.Image:
    return grey(np.where(mask > 0, 255, 0))


def black_palette(mask: np.ndarray) -> Image.Image:
    """Black and white by a palette whose number 0 is white, as some programs sort it."""
    image = Image.frombytes("P", mask.shape[::-1], (1 - mask).astype(np.uint8).tobytes())
    image.putpalette([255, 255, 255, 0, 0, 0])
    return image


def folder(
    root: Path, masks: np.ndarray, made: Callable[[np.ndarray], Image.Image], ending: str = "png"
) -> Path:
    for side in ("inputs", "targets"):
        (root / side).mkdir(parents=True)
    for place, mask in enumerate(masks):
        pixels = RANDOM.integers(0, 255, (*mask.shape, 3), np.uint8)
        Image.fromarray(pixels).save(root / "inputs" / f"{place}.png")
        made(mask).save(root / "targets" / f"{place}.{ending}")
    return root


def targets_of(data: Any) -> np.ndarray:
    """Targets by the number of their file."""
    splits = [s for s in (data.train, data.val) if s is not None]
    names = [int(Path(p).stem) for s in splits for p in s.source.paths]
    found = np.concatenate([t for s in splits for _, t in s.in_order().as_numpy_iterator()])
    return found[np.argsort(names)]


@pytest.mark.parametrize("made", [grey, palette, grey_in_rgb, sixteen_bits])
@pytest.mark.parametrize("activation", ["softmax", None])
def test_masks_are_class_numbers_in_every_mode(made, activation, tmp_path: Path) -> None:
    masks = numbers()
    data = open_data(folder(tmp_path, masks, made), network(3, activation))
    np.testing.assert_array_equal(targets_of(data), masks)
    assert data.task.loss == "sparse_categorical_crossentropy"


@pytest.mark.parametrize("made", [grey, white, one_bit, black_palette, palette])
def test_masks_of_two_classes_are_zeros_and_ones(made, tmp_path: Path) -> None:
    masks = numbers(classes=2)
    masks[0] = 0  # a file alone doesn't say which number stands for class 1
    masks[1] = 1
    data = open_data(
        DataSpec(spec=folder(tmp_path, masks, made), scale=1 / 255), network(1, "sigmoid")
    )
    np.testing.assert_array_equal(targets_of(data)[..., 0], masks)
    assert data.task.loss == "binary_crossentropy"


@pytest.mark.parametrize("made", [grey, white, one_bit, black_palette, palette])
def test_white_is_class_one_of_two_channels(made, tmp_path: Path) -> None:
    masks = numbers(classes=2)
    data = open_data(folder(tmp_path, masks, made), network(2))
    np.testing.assert_array_equal(targets_of(data), masks)


@pytest.mark.parametrize("channels", [1, 2])
def test_masks_that_jpeg_has_blurred_are_decided_at_half(channels: int, tmp_path: Path) -> None:
    masks = numbers(classes=2)
    model = network(channels, "sigmoid" if channels == 1 else "softmax")
    data = open_data(folder(tmp_path, masks, white, "jpg"), model)
    np.testing.assert_array_equal(targets_of(data).reshape(masks.shape), masks)
    assert any("blurred" in note for note in data.warnings)


def test_another_size_takes_the_nearest_class(tmp_path: Path) -> None:
    masks = numbers()
    model = network(3, size=None)
    data = open_data(DataSpec(spec=folder(tmp_path, masks, palette), resize=(8, 8)), model)
    np.testing.assert_array_equal(targets_of(data), masks[:, ::2, ::2])


@pytest.mark.parametrize("made", [grey, palette])
def test_pixels_without_a_class_are_refused_in_whatever_file_they_are(made, tmp_path) -> None:
    masks = numbers(40)
    masks[37, :2] = 255
    with pytest.raises(InputError, match="255 beside 0 to 2"):
        open_data(folder(tmp_path / "many", masks, made), network(3))
    two = numbers(classes=2)
    two[3, :2] = 255
    with pytest.raises(InputError, match="255 beside 0 and 1"):
        open_data(folder(tmp_path / "two", two, made), network(1, "sigmoid"))


@pytest.mark.parametrize(
    ("made", "classes", "channels", "message"),
    [
        (of_colour, 3, 3, "holds colours, output 'mask' takes class numbers"),
        (of_colour, 3, 1, "holds colours"),
        (grey, 4, 3, "class number 3, output 'mask' has 3 classes"),
        (palette, 4, 3, "class number 3"),
        (palette, 3, 1, "class numbers up to 2, output 'mask' has one channel"),
    ],
)
def test_masks_that_do_not_fit_are_refused(made, classes, channels, message, tmp_path) -> None:
    activation = "sigmoid" if channels == 1 else "softmax"
    with pytest.raises(InputError, match=message):
        open_data(folder(tmp_path, numbers(classes=classes), made), network(channels, activation))


def test_blurred_class_numbers_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds class number") as refusal:
        open_data(folder(tmp_path, 80 * numbers(), grey, "jpg"), network(3))
    assert "save masks as PNG" in refusal.value.format_message()


def test_palettes_that_differ_are_no_class_numbers(tmp_path: Path) -> None:
    masks = numbers()
    root = folder(tmp_path, masks, palette)
    odd = palette(masks[2])
    odd.putpalette(COLOURS[::-1])
    odd.save(root / "targets" / "2.png")
    with pytest.raises(InputError, match="palettes differ"):
        open_data(root, network(3))


def picture(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(int(mask.sum())).integers(0, 256, (*mask.shape, 3), np.uint8)
    )


@pytest.mark.parametrize(
    ("activation", "spec", "low", "high"),
    [
        ("sigmoid", {"scale": 1 / 255}, 0, 1),
        ("tanh", {"scale": 1 / 127.5, "mean": 1}, -1, 1),
        ("tanh", {"preprocess": "tf"}, -1, 1),
        ("sigmoid", {"preprocess": "torch"}, 0, 1),
        ("sigmoid", {"scale": 1 / 255, "mean": 0.5, "std": 0.25}, 0, 1),
        (None, {"scale": 1 / 255, "mean": 0.5, "std": 0.25}, -2, 2),
        ("sigmoid", {"scale": 1 / 127.5, "mean": 1}, 0, 1),
        ("sigmoid", {"scale": 1 / 100}, 0, 1),
        (None, {}, 0, 255),
    ],
)
def test_target_pictures_are_scaled_with_the_inputs(activation, spec, low, high, tmp_path) -> None:
    root = folder(tmp_path, numbers(), picture)
    data = open_data(DataSpec(spec=root, **spec), network(3, activation))
    found = targets_of(data)
    assert (found.min(), found.max()) == pytest.approx((low, high), abs=0.02)
    assert any("target images are scaled" in note for note in data.warnings) == bool(spec)
    raw = np.asarray(Image.open(root / "targets" / "0.png"), np.float32)
    np.testing.assert_allclose(found[0], low + raw / 255 * (high - low), atol=1e-3)


def test_pictures_out_of_reach_without_a_scale_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 to 255") as error:
        open_data(folder(tmp_path, numbers(), picture), network(3, "sigmoid"))
    assert error.value.hint.startswith("--scale 1/255")


@pytest.mark.parametrize(
    ("activation", "scale", "offset", "low", "high"),
    [
        ("sigmoid", 1 / 255, 0.0, 0, 1),
        ("sigmoid", 1 / 127.5, -1.0, 0, 1),
        ("tanh", 1 / 127.5, -1.0, -1, 1),
        ("tanh", 1 / 255, 0.0, 0, 1),
        (None, 1 / 255, 0.0, 0, 255),
    ],
)
def test_target_pictures_of_a_model_that_scales_itself_are_what_it_can_give(
    activation, scale, offset, low, high, tmp_path
) -> None:
    inner = network(3, activation)
    inputs = keras.Input(inner.input_shape[1:], name="image")
    model = keras.Model(inputs, inner(keras.layers.Rescaling(scale, offset)(inputs)))
    data = open_data(folder(tmp_path, numbers(), picture), model)
    found = targets_of(data)
    assert (found.min(), found.max()) == pytest.approx((low, high), abs=0.02)
    assert any("target images are scaled" in note for note in data.warnings) == (high == 1)


def test_target_pictures_in_arrays_are_scaled_and_masks_are_not() -> None:
    x = RANDOM.integers(0, 256, (6, SIZE, SIZE, 3), np.uint8)
    spec = DataSpec(spec={"x_test": x, "y_test": x}, scale=1 / 255)
    inputs, targets = open_data(spec, network(3, "sigmoid")).test.sample(6)
    np.testing.assert_array_equal(inputs["image"], targets)
    masks = numbers(classes=2)[..., None]
    spec = DataSpec(spec={"x_test": x, "y_test": masks}, scale=1 / 255)
    targets = open_data(spec, network(1, "sigmoid")).test.sample(6)[1]
    assert set(np.unique(targets)) == {0, 1}


def test_pairs_lie_in_subfolders_too(tmp_path: Path) -> None:
    masks = numbers()
    root = folder(tmp_path, masks, palette)
    for side in ("inputs", "targets"):
        (root / side / "town").mkdir()
        (root / side / "0.png").rename(root / side / "town" / "0.png")
    np.testing.assert_array_equal(targets_of(open_data(root, network(3))), masks)
