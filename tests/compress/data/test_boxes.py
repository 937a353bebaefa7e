"""Images with boxes in the formats of COCO, YOLO and Pascal VOC."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from edgepress import compress
from edgepress.compress import DataSpec, InputError
from edgepress.compress.data import open_data

SIDE = 16
NAMES = ("square", "bar")
# Of each image by split: x_min, y_min, x_max, y_max in pixels and the class.
Boxes = dict[str, list[list[tuple[int, int, int, int, int]]]]
CODE = """
import numpy as np
import tensorflow as tf

def loss(boxes, outputs):
    there = tf.cast(tf.reduce_any(boxes[..., 4] >= 0, -1), tf.float32)
    return tf.square(tf.reduce_mean(outputs, (1, 2)) - there)

def decode(outputs):
    ones = np.ones((len(outputs), 1, 1), np.float32)
    corners = np.concatenate([0 * ones, 0 * ones, ones, ones], -1)
    return np.concatenate([corners, outputs[:, :1, :1], 0 * ones], -1)
"""


def drawn(splits: tuple[str, ...] = ("train", "val", "test"), count: int = 6) -> Boxes:
    random = np.random.default_rng(0)
    found: Boxes = {}
    for split in splits:
        found[split] = []
        for _ in range(count):
            corners = random.integers(0, 8, (random.integers(0, 4), 2))
            sizes = random.integers(2, 8, corners.shape)
            found[split].append(
                [
                    (*map(int, c), *map(int, c + s), int(random.integers(2)))
                    for c, s in zip(corners, sizes, strict=True)
                ]
            )
        found[split][0] = [(2, 4, 10, 12, 1)]
    return found


def save_images(folder: Path, number: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for place in range(number):
        pixels = np.random.default_rng(place).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{place}.png")


def as_coco(root: Path, boxes: Boxes, **mark: Any) -> None:
    (root / "annotations").mkdir(parents=True)
    for split, images in boxes.items():
        save_images(root / f"{split}2017", len(images))
        marks = [
            {
                "id": 100 * place + number, "image_id": place, "category_id": 7 - 4 * kind,
                "bbox": [x, y, right - x, bottom - y], "iscrowd": 0, **mark,
            }
            for place, found in enumerate(images)
            for number, (x, y, right, bottom, kind) in enumerate(found)
        ]  # fmt: skip
        document = {
            "images": [
                {"id": n, "file_name": f"{n}.png", "width": SIDE, "height": SIDE}
                for n in range(len(images))
            ],
            "annotations": marks,
            # Numbered by their ids: "bar" is 0, "square" is 1.
            "categories": [{"id": 7, "name": "square"}, {"id": 3, "name": "bar"}],
        }
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(document))


def as_yolo(root: Path, boxes: Boxes) -> None:
    for split, images in boxes.items():
        save_images(root / "images" / split, len(images))
        (root / "labels" / split).mkdir(parents=True)
        for place, found in enumerate(images):
            lines = [
                f"{1 - kind} {(x + right) / 2 / SIDE} {(y + bottom) / 2 / SIDE}"
                f" {(right - x) / SIDE} {(bottom - y) / SIDE}"
                for x, y, right, bottom, kind in found
            ]
            if lines:
                (root / "labels" / split / f"{place}.txt").write_text("\n".join(lines))
    (root / "data.yaml").write_text("names: {0: bar, 1: square}\ntrain: images/train\n")


def as_voc(root: Path, boxes: Boxes) -> None:
    inner = root / "VOC2012"
    (inner / "Annotations").mkdir(parents=True)
    (inner / "ImageSets" / "Main").mkdir(parents=True)
    for split, images in boxes.items():
        save_images(root / "drawn", len(images))
        (inner / "JPEGImages").mkdir(exist_ok=True)
        for place, found in enumerate(images):
            name = f"{split}_{place}"
            (root / "drawn" / f"{place}.png").rename(inner / "JPEGImages" / f"{name}.png")
            objects = "".join(
                f"<object><name>{NAMES[kind]}</name><difficult>0</difficult><bndbox>"
                f"<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{right}</xmax>"
                f"<ymax>{bottom}</ymax></bndbox></object>"
                for x, y, right, bottom, kind in found
            )
            (inner / "Annotations" / f"{name}.xml").write_text(
                f"<annotation><size><width>{SIDE}</width><height>{SIDE}</height></size>{objects}"
                "</annotation>"
            )
        listed = "\n".join(f"{split}_{place}" for place in range(len(images)))
        (inner / "ImageSets" / "Main" / f"{split}.txt").write_text(listed)


FORMATS = {"coco": as_coco, "yolo": as_yolo, "voc": as_voc}


@pytest.fixture(scope="module")
def detector() -> keras.Model:
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(4, 3, strides=4)(x)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(layers.Reshape((16, 4))(x)))


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_boxes_come_of_every_format(
    form: str, tmp_path: Path, detector: keras.Model, code: Path
) -> None:
    boxes = drawn()
    FORMATS[form](tmp_path / "d", boxes)
    data = open_data(
        DataSpec(spec=tmp_path / "d", loss=f"{code}:loss", metric=f"map:{code}:decode"), detector
    )
    assert data.class_names == ("bar", "square")
    assert data.task.kind == "own"
    for split, images in boxes.items():
        part = getattr(data, split)
        [(_, targets)] = part.in_order(64).as_numpy_iterator()
        assert targets.shape[::2] == (len(images), 5)
        for found, expected in zip(targets, images, strict=True):
            rows = [(*np.array(b[:4]) / SIDE, 1 - b[4]) for b in expected]
            np.testing.assert_allclose(found[found[:, 4] >= 0], np.reshape(rows, (-1, 5)))
            assert (found[len(rows) :] == -1).all()


def test_a_detector_is_trained_and_measured(
    tmp_path: Path, detector: keras.Model, code: Path
) -> None:
    as_yolo(tmp_path / "d", drawn())
    spec = DataSpec(spec=tmp_path / "d", loss=f"{code}:loss", metric=f"map50:{code}:decode")
    result = compress.finetune(detector, spec, epochs=1)
    assert result.history.metric == f"map50:{code}:decode"
    assert 0 <= result.history.after <= 1
    measured = DataSpec(spec=tmp_path / "d", metric=f"map:{code}:decode")
    assert open_data(measured, detector).task.metric.startswith("map:")
    with pytest.raises(InputError, match="no loss to train by"):
        compress.finetune(detector, measured, epochs=1)
    with pytest.raises(InputError, match="--metric map:"):
        open_data(tmp_path / "d", detector)
    with pytest.raises(InputError, match="doesn't compare boxes"):
        open_data(DataSpec(spec=tmp_path / "d", loss=spec.loss, metric="f1"), detector)
    with pytest.raises(InputError, match="boxes would stay"):
        open_data(spec.model_copy(update={"augment": ("noise:0.1,mixup",)}), detector)


def test_classes_are_numbered_as_they_are_named(
    tmp_path: Path, detector: keras.Model, code: Path
) -> None:
    as_voc(tmp_path / "d", drawn())
    spec = DataSpec(spec=tmp_path / "d", loss=f"{code}:loss")
    assert "alphabet" in " ".join(open_data(spec, detector).warnings)
    named = open_data(spec.model_copy(update={"classes": NAMES}), detector)
    assert named.class_names == NAMES
    [(_, targets)] = named.train.in_order(64).as_numpy_iterator()  # type: ignore[union-attr]
    assert targets[0, 0, 4] == 1
    with pytest.raises(InputError, match="'square', which isn't among"):
        open_data(spec.model_copy(update={"classes": ("bar", "box")}), detector)


def test_crowds_have_a_column(tmp_path: Path, detector: keras.Model, code: Path) -> None:
    as_coco(tmp_path / "d", drawn(("train", "test")), iscrowd=1)
    data = open_data(DataSpec(spec=tmp_path / "d", loss=f"{code}:loss"), detector)
    [(_, targets)] = data.test.in_order(64).as_numpy_iterator()  # type: ignore[union-attr]
    assert targets.shape[-1] == 6
    assert set(targets[targets[..., 4] >= 0][:, 5]) == {1.0}


def _line(text: str) -> Callable[[Path], None]:
    return lambda root: (root / "labels" / "train" / "0.txt").write_text(text) and None


def _coco(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        path = root / "annotations" / "instances_train2017.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return damage


def _voc(old: str, new: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        path = root / "VOC2012" / "Annotations" / "train_0.xml"
        path.write_text(path.read_text().replace(old, new))

    return damage


DAMAGED = {
    "a class too many": ("yolo", _line("2 .5 .5 .2 .2"), "0.txt:1': there is no class 2"),
    "half a class": ("yolo", _line("0.5 .5 .5 .2 .2"), "there is no class 0.5"),
    "pixels": ("yolo", _line("0 8 8 4 4"), "outside of its image"),
    "an outline": ("yolo", _line("0 .1 .1 .2 .1 .2 .2"), "outlines, not a box"),
    "four values": ("yolo", _line("0 .5 .5 .2"), "4 values, not a box"),
    "a word": ("yolo", _line("cat .5 .5 .2 .2"), "not four finite numbers"),
    "no area": ("yolo", _line("0 .5 .5 0 .2"), "has no area"),
    "labels without an image": (
        "yolo",
        lambda r: (r / "labels/val/77.txt").write_text("0 .5 .5 .2 .2"),
        "no image of its name",
    ),
    "names with a gap": (
        "yolo",
        lambda r: (r / "data.yaml").write_text("names: {0: bar, 2: square}"),
        "not numbered from 0",
    ),
    "an image that isn't there": (
        "coco",
        _coco(lambda d: d["images"][0].update(file_name="gone.png")),
        "'gone.png' is not below",
    ),
    "an unknown category": (
        "coco",
        _coco(lambda d: d["annotations"][0].update(category_id=5)),
        "there is no category 5",
    ),
    "an unknown image": (
        "coco",
        _coco(lambda d: d["annotations"][0].update(image_id=99)),
        "there is no image 99",
    ),
    "another size": (
        "coco",
        _coco(lambda d: d["images"][0].update(width=99)),
        "its boxes are of 99 x 16",
    ),
    "three numbers": (
        "coco",
        _coco(lambda d: d["annotations"][0].update(bbox=[1, 2, 3])),
        "not four finite numbers",
    ),
    "other categories in one split": (
        "coco",
        _coco(lambda d: d["categories"].append({"id": 99, "name": "more"})),
        "different categories",
    ),
    "two categories of a name": (
        "coco",
        _coco(lambda d: d["categories"].append({"id": 99, "name": "bar"})),
        "the name 'bar'",
    ),
    "no list": (
        "coco",
        _coco(lambda d: d["annotations"][0].update(bbox=None)),
        "not four finite numbers",
    ),
    "one without a box": (
        "coco",
        _coco(lambda d: d["annotations"].append({"id": 0, "image_id": 0, "category_id": 3})),
        "lacks 'bbox'",
    ),
    "shares": (
        "coco",
        _coco(lambda d: [m.update(bbox=[0.1, 0.1, 0.2, 0.2]) for m in d["annotations"]]),
        "boxes are in pixels",
    ),
    "another number of classes": (
        "yolo",
        lambda r: (r / "data.yaml").write_text("names: [bar, square]\nnc: 3"),
        "nc 3 and 2 names",
    ),
    "a size in words": ("voc", _voc("<width>16</width>", "<width>x</width>"), "train_0.xml' can't"),
    "no lower edge": ("voc", _voc("<ymax>12</ymax>", ""), "not four finite numbers"),
    "no name": ("voc", _voc("<name>bar</name>", ""), "has no name"),
    "upside down": ("voc", _voc("<ymax>12</ymax>", "<ymax>1</ymax>"), "has no area"),
    "no XML": ("voc", _voc("</annotation>", ""), "can't be read"),
    "a listed image without boxes": (
        "voc",
        lambda r: (r / "VOC2012/ImageSets/Main/train.txt").write_text("train_99"),
        "has no 'train_99.xml'",
    ),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_would_be_read_wrongly_is_refused(
    damage: str, tmp_path: Path, detector: keras.Model, code: Path
) -> None:
    form, change, told = DAMAGED[damage]
    FORMATS[form](tmp_path / "d", drawn(count=1))
    change(tmp_path / "d")
    with pytest.raises(InputError, match=told):
        open_data(DataSpec(spec=tmp_path / "d", loss=f"{code}:loss"), detector)


APART = """
import numpy as np
import tensorflow as tf

def loss(boxes, outputs):
    return tf.reduce_mean(tf.square(outputs), (1, 2))

def decode(corners, scores):
    best = scores.max(-1, keepdims=True)
    return np.concatenate([corners, best, scores.argmax(-1)[..., None]], -1)
"""


@pytest.fixture(scope="module")
def apart() -> keras.Model:
    """A detector whose boxes and scores are outputs of their own."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Reshape((16, 4))(layers.Conv2D(4, 3, strides=4)(inputs))
    corners = layers.Dense(4, activation="sigmoid", name="corners")(x)
    return keras.Model(inputs, [corners, layers.Dense(2, activation="sigmoid", name="scores")(x)])


@pytest.mark.parametrize("metric", ["map", "map50:{code}:decode"])
@pytest.mark.parametrize("loss", ["{code}:loss", "scores={code}:loss", ""])
def test_boxes_and_scores_of_two_outputs_are_scored_together(
    metric: str, loss: str, tmp_path: Path, apart: keras.Model
) -> None:
    code = tmp_path / "mine.py"
    code.write_text(APART)
    as_yolo(tmp_path / "d", drawn(count=12))
    losses = (loss.format(code=code),) if loss else ()
    spec = DataSpec(spec=tmp_path / "d", metric=metric.format(code=code), loss=losses)
    data = open_data(spec, apart)
    assert "neither trained nor scored" not in " ".join(data.warnings)
    assert data.test is not None
    [(_, boxes)] = data.test.in_order(64).as_numpy_iterator()
    truth = boxes["corners"]
    # Each box is found, in places of its own among 16, with scores that fall.
    corners = np.zeros((len(truth), 16, 4), np.float32)
    scores = np.zeros((len(truth), 16, 2), np.float32)
    for n, rows in enumerate(truth):
        for place, row in enumerate(rows[rows[:, 4] >= 0]):
            corners[n, place] = row[:4]
            scores[n, place, int(row[4])] = 0.9 - 0.1 * place
    headline = [f for f in data.task.figures([corners, scores], boxes) if f.headline]
    assert [f.value for f in headline] == [pytest.approx(1)]
    swapped = data.task.score([corners, scores[..., ::-1]], boxes)
    assert swapped < 0.5
    if loss:
        history = compress.finetune(apart, spec, epochs=1).history
        assert history.metric == spec.metric[0].replace("map50:", "map50:")
        assert 0 <= history.after <= 1


def test_a_function_of_one_output_is_no_function_of_two(tmp_path: Path, apart: keras.Model) -> None:
    (code := tmp_path / "mine.py").write_text(CODE)
    as_yolo(tmp_path / "d", drawn())
    data = open_data(DataSpec(spec=tmp_path / "d", metric=f"map:{code}:decode"), apart)
    assert all(not output.joint for output in data.task.outputs)
