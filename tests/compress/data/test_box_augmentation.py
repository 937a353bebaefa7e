"""Changes that move pictures move their boxes to where the things are seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from edgepress.compress import DataSpec, InputError
from edgepress.compress.data import open_data
from edgepress.compress.data.augmentation.augmenting import _MOVING
from edgepress.compress.data.augmentation.layers import LAYERS

HEIGHT, WIDTH, COUNT = 48, 64, 24
FOLLOWED = [*_MOVING, *(name for name in LAYERS if LAYERS[name].boxes)]
AMOUNTS = {"flip": 1, "flip-vertical": 1, "crop": 12, "rotation": 0.1, "zoom": 0.3, "shear": 0.1}


@pytest.fixture(scope="module")
def detector() -> keras.Model:
    inputs = keras.Input((HEIGHT, WIDTH, 1))
    x = layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, layers.Reshape((2, 6))(layers.Dense(12)(x)))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with one bright thing each, in the form of YOLO."""
    root, random = tmp_path_factory.mktemp("scenes"), np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for number in range(COUNT):
            left, top = random.integers(14, 28), random.integers(10, 20)
            width, height = random.integers(10, 20, 2)
            pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
            pixels[top : top + height, left : left + width] = 255
            Image.fromarray(pixels).save(root / "images" / split / f"{number}.png")
            box = (left + width / 2) / WIDTH, (top + height / 2) / HEIGHT
            row = " ".join(map(str, (0, *box, width / WIDTH, height / HEIGHT)))
            # A picture with fewer boxes than another has rows that are none.
            rows = [row] * (1 + (number == 0))
            (root / "labels" / split / f"{number}.txt").write_text("\n".join(rows))
    (root / "data.yaml").write_text("names: {0: thing}\n")
    return root


def batch(scenes: Path, model: keras.Model, change: str, epoch: int = 0) -> tuple[Any, Any]:
    spec = DataSpec(spec=scenes, scale="1/255", augment=(change,), metric="map")
    data = open_data(spec, model)
    assert data.train is not None
    found = data.train.epoch(COUNT, seed=3, epoch=epoch)
    inputs, boxes = next(found.as_numpy_iterator())[:2]
    return next(iter(inputs.values())) if isinstance(inputs, dict) else inputs, boxes


def seen(image: Any) -> tuple[float, ...]:
    """Left, top, right and bottom of what is bright."""
    rows, columns = np.nonzero(image[..., 0] > 0.5)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize("name", FOLLOWED)
def test_boxes_lie_where_things_are_seen(name: str, scenes: Path, detector: keras.Model) -> None:
    change = f"{name}:{AMOUNTS[name]}" if name in AMOUNTS else name
    images, boxes = batch(scenes, detector, change)
    again = batch(scenes, detector, change)
    np.testing.assert_array_equal(boxes, again[1])
    moved = 0
    for image, rows in zip(images, boxes, strict=True):
        assert np.isin(rows[1:, 4], (-1, 0)).all()
        assert (rows[rows[:, 4] < 0] == -1).all()
        [first, *_] = rows
        if first[4] < 0:
            assert (image > 0.5).mean() < 0.04  # hardly anything of it is left
            continue
        assert (first[:4] >= 0).all()
        assert (first[:4] <= 1).all()
        corners = first[:4] * (WIDTH, HEIGHT, WIDTH, HEIGHT)
        assert np.abs(corners - seen(image)).max() <= 2.5, (corners, seen(image))
        moved += 1
    assert moved > COUNT // 2
    assert not np.array_equal(boxes, batch(scenes, detector, "noise:0.01")[1])


@pytest.mark.parametrize("name", ["elastic", "randaugment", "mixup", "cutmix"])
def test_what_boxes_cannot_follow_is_refused(
    name: str, scenes: Path, detector: keras.Model
) -> None:
    with pytest.raises(InputError, match=f"'{name}' moves images") as error:
        batch(scenes, detector, name)
    assert "rotation" in error.value.hint
