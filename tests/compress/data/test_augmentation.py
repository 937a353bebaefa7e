"""Random changes by Keras's layers and by functions of one's own: from the seed alone."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgepress.compress import finetune, open_data
from edgepress.compress.data.augmentation.layers import LAYERS
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec

RANDOM = np.random.default_rng(0)
SIZE, COUNT, CLASSES = 12, 16, 4


def drawn(channels: int = 3) -> np.ndarray:
    """Images with large areas, of which a shift or a turn can be told."""
    small = RANDOM.integers(0, 256, (COUNT, 4, 4, channels), np.uint8)
    return small.repeat(3, 1).repeat(3, 2)


IMAGES, GREY = drawn(), drawn(1)
LABELS = np.arange(COUNT) % CLASSES


@functools.cache
def classifier(channels: int = 3, outputs: int = CLASSES, activation: str = "softmax"):
    image = keras.Input((SIZE, SIZE, channels), name="image")
    flat = keras.layers.Flatten()(image)
    return keras.Model(image, keras.layers.Dense(outputs, activation=activation)(flat))


@functools.cache
def painter(channels: int, activation: str | None, size: int = 1) -> keras.Model:
    image = keras.Input((SIZE, SIZE, 3), name="image")
    layer = keras.layers.Conv2D(channels, 1, strides=size, activation=activation, name="mask")
    return keras.Model(image, layer(image))


def batches(model: keras.Model, x: Any, y: Any, epoch: int = 0, **spec: Any):
    data = open_data(DataSpec(spec={"train": (x, y)}, validation_split=0.5, **spec), model)
    found = list(data.train.epoch(8, seed=3, epoch=epoch).as_numpy_iterator())
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


# So that some of eight images are changed: for these the amount is a probability.
SURELY = {"invert": "invert:1", "grayscale": "grayscale:1"}


# Tracing RandAugment takes seconds: its own layers stand for it.
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n == "randaugment" else n for n in LAYERS],
)
def test_a_layers_change_is_drawn_from_seed_and_epoch(name: str) -> None:
    spec = {"spec": {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS}}
    change = SURELY.get(name, name)
    data = open_data(DataSpec(**spec, scale=1 / 255, augment=(change,)), classifier())

    def epoch(number: int, **how: Any) -> tuple[np.ndarray, np.ndarray]:
        return next(data.train.epoch(8, 3, number, **how).as_numpy_iterator())

    first, again, other, plain = epoch(0), epoch(0), epoch(1), epoch(0, augment=False)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert np.abs(first[0] - plain[0]).max() > 0.01
    assert not np.array_equal(first[0], other[0])
    assert first[0].shape == plain[0].shape
    assert -1e-5 <= first[0].min() <= first[0].max() <= 1 + 1e-5


@pytest.mark.parametrize("name", ["saturation", "rotation", "posterization"])
def test_preparation_makes_no_difference_to_what_is_changed(name: str) -> None:
    """A change sees black, white and RGB, whatever a model takes."""
    model = classifier()
    raw = batches(model, IMAGES, LABELS, augment=(name,))[0]
    for spec, back in (
        ({"scale": 1 / 255}, lambda v: v * 255),
        ({"preprocess": "tf"}, lambda v: (v + 1) * 127.5),
        ({"preprocess": "caffe"}, lambda v: (v + np.array([103.939, 116.779, 123.68]))[..., ::-1]),
        ({"scale": 1 / 255, "mean": 0.5, "std": (0.2, 0.3, 0.4)},
         lambda v: (v * [0.2, 0.3, 0.4] + 0.5) * 255),
    ):  # fmt: skip
        found = batches(model, IMAGES, LABELS, augment=(name,), **spec)[0]
        # Steps of a few values may fall to either side of a rounding.
        assert np.mean(np.abs(back(found) - raw) > 0.1) < 0.02


def test_grey_images_are_changed_as_grey_ones() -> None:
    found = batches(classifier(1), GREY, LABELS, augment=("saturation", "shear"))[0]
    assert found.shape == (8, SIZE, SIZE, 1)
    assert found.std() > 10


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixed_samples_have_mixed_labels(name: str) -> None:
    model = classifier()
    spec = DataSpec(spec={"x": IMAGES, "y": LABELS}, scale=1 / 255, augment=(name,))
    data = open_data(spec, model)
    assert data.task.loss == "categorical_crossentropy"
    targets = np.concatenate([t for _, t in data.train.epoch(8, 0, 0).as_numpy_iterator()])
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-5)
    assert ((targets > 0.01) & (targets < 0.99)).any()
    held_out = np.concatenate([t for _, t in data.val.in_order().as_numpy_iterator()])
    assert set(np.unique(held_out)) == {0, 1}
    result = finetune(model, spec, epochs=1)
    assert 0 <= result.history.after <= 1


def test_labels_of_one_output_are_mixed_too() -> None:
    y = (np.arange(COUNT) % 2)[:, None]
    found = batches(classifier(3, 1, "sigmoid"), IMAGES, y, augment=("mixup:10",))[1]
    assert ((found > 0.01) & (found < 0.99)).any()


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("name", ["rotation", "zoom", "cutmix", "flip", "crop:3"])
def test_masks_move_with_their_images_and_keep_their_classes(name: str, flat: bool) -> None:
    """The colour of each pixel is its class's, before and after."""
    masks = RANDOM.integers(0, 3, (COUNT, 4, 4), np.uint8).repeat(3, 1).repeat(3, 2)
    images = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250]], np.uint8)[masks]
    y = masks if flat else masks[..., None]
    x, found = batches(painter(3, "softmax"), images, y, augment=(name,), scale=1 / 255)
    assert set(np.unique(found)) <= {0, 1, 2}
    plain = batches(painter(3, "softmax"), images, y, scale=1 / 255)[1]
    assert not np.array_equal(found, plain)
    agree = x.argmax(-1) == found.reshape(x.shape[:-1])
    assert agree.mean() > 0.9  # not where bilinear and nearest differ, at borders


def test_colours_of_inputs_change_alone_and_pictures_turn_along() -> None:
    model = painter(3, "sigmoid")
    plain = batches(model, IMAGES, IMAGES, scale=1 / 255)
    np.testing.assert_array_equal(*plain)
    x, y = batches(model, IMAGES, IMAGES, scale=1 / 255, augment=("color",))
    np.testing.assert_array_equal(y, plain[1])
    assert np.abs(x - y).max() > 0.01
    turned = batches(model, IMAGES, IMAGES, scale=1 / 255, augment=("rotation",))
    np.testing.assert_allclose(*turned, atol=1e-5)


def own_file(folder: Path, body: str) -> str:
    path = folder / "own.py"
    path.write_text(f"import tensorflow as tf\n\ndef change(images, targets, seed):\n    {body}\n")
    return f"{path}:change"


def test_a_function_of_ones_own_gets_the_seed(tmp_path: Path) -> None:
    own = own_file(
        tmp_path,
        "return images + tf.random.stateless_uniform(tf.shape(images), seed), targets",
    )
    first, again, other = (
        batches(classifier(), IMAGES, LABELS, epoch, augment=(own, "flip")) for epoch in (0, 0, 1)
    )
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.array_equal(np.sort(first[0], 0), np.sort(other[0], 0))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return images + tf.random.uniform(tf.shape(images)), targets", "otherwise each time"),
        ("return images", "return (images, targets)"),
        ("return images[:, :5], targets", "makes (8, 5, 12, 3) of images"),
        ("raise ValueError('no such thing')", "no such thing"),
    ],
)
def test_own_functions_that_do_not_fit_are_one_line(body: str, message: str, tmp_path) -> None:
    with pytest.raises(InputError) as caught:
        batches(classifier(), IMAGES, LABELS, augment=(own_file(tmp_path, body),))
    line = caught.value.format_message()
    assert message in line
    assert "\n" not in line


MASKS = RANDOM.integers(0, 3, (COUNT, SIZE, SIZE), np.uint8)


def in_rows() -> keras.Model:
    """An answer for each pixel, one pixel behind the other."""
    image = keras.Input((SIZE, SIZE, 3), name="image")
    rows = keras.layers.Reshape((SIZE * SIZE, 3))(image)
    return keras.Model(image, keras.layers.Dense(3, activation="softmax")(rows))


@pytest.mark.parametrize(
    ("model", "targets", "augment", "message"),
    [
        (classifier(), LABELS, "rotate", "'rotation'"),
        (classifier(), LABELS, "rotation:2", "between 0 and 1"),
        (painter(3, "softmax"), MASKS, "mixup", "take cutmix"),
        (painter(3, None, 2), IMAGES[:, ::2, ::2], "rotation", "another size"),
        (painter(3, None, 2), IMAGES[:, ::2, ::2], "crop", "another size"),
        (classifier(3, 1, None), RANDOM.normal(size=(COUNT, 1)), "cutmix", "take mixup"),
        (in_rows(), MASKS.reshape(COUNT, -1), "flip", "in rows of 12 x 12"),
    ],
)
def test_what_can_not_be_changed_is_refused(model, targets, augment: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        batches(model, IMAGES, targets, augment=(augment,))
    assert message in caught.value.format_message()


def test_a_compiled_loss_of_class_numbers_is_not_replaced_silently() -> None:
    model = keras.models.clone_model(classifier())
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=3)
    model.compile(loss=loss)
    with pytest.raises(InputError, match="ignore_label"):
        batches(model, IMAGES, LABELS, augment=("mixup",))
    spec = {"augment": ("mixup",), "loss": "sparse_categorical_crossentropy"}
    assert batches(model, IMAGES, LABELS, **spec)[1].shape == (8, CLASSES)


def paired() -> keras.Model:
    """Two images and a table in; a mask, a class and a picture out."""
    left, right = (keras.Input((SIZE, SIZE, 3), name=n) for n in ("left", "right"))
    table = keras.Input((2,), name="table")
    flat = keras.layers.Flatten()(keras.layers.Concatenate()([left, right]))
    outputs = [
        keras.layers.Conv2D(3, 1, activation="softmax", name="mask")(left),
        keras.layers.Dense(3, activation="softmax", name="kind")(
            keras.layers.Concatenate()([flat, table])
        ),
        keras.layers.Conv2D(3, 1, name="picture")(right),
    ]
    return keras.Model([table, left, right], outputs)


PAINT = np.eye(3, dtype=np.float32)
BLOCKS = RANDOM.integers(0, 3, (COUNT, 4, 4), np.uint8).repeat(3, 1).repeat(3, 2)


@pytest.mark.parametrize("name", ["flip", "crop:3", "rotation:0.2"])
def test_all_images_of_a_sample_and_all_that_lies_over_them_move_alike(name: str) -> None:
    """Of several inputs and outputs, and the weights of single pixels."""
    shown = PAINT[BLOCKS]
    arrays = {"x_train__left": shown, "x_train__right": shown, "y_train__mask": BLOCKS}
    arrays |= {"x_train__table": np.zeros((COUNT, 2), np.float32), "y_train__picture": shown * 3}
    arrays |= {"y_train__kind": BLOCKS[:, 0, 0].astype(np.int64)}
    arrays["sample_weight_train__mask"] = (BLOCKS == 1).astype(np.float32)
    data = open_data(DataSpec(spec=arrays, augment=(name,), validation_split=0.5), paired())
    plain = next(data.train.epoch(8, 3, 0, augment=False).as_numpy_iterator())
    inputs, targets, weights = next(data.train.epoch(8, 3, 0).as_numpy_iterator())
    assert not np.array_equal(inputs["left"], plain[0]["left"])
    np.testing.assert_array_equal(inputs["left"], inputs["right"])
    np.testing.assert_allclose(targets["picture"], inputs["left"] * 3, atol=1e-4)
    agree = inputs["left"].argmax(-1) == targets["mask"]
    assert agree.mean() > 0.9
    np.testing.assert_array_equal(weights["mask"] == 1, targets["mask"] == 1)
    np.testing.assert_array_equal(targets["kind"], plain[1]["kind"])
    np.testing.assert_array_equal(inputs["table"], plain[0]["table"])


def test_an_own_function_gets_several_inputs_by_name(tmp_path: Path) -> None:
    body = "return {**images, 'left': images['left'] + 1}, targets"
    shown = PAINT[BLOCKS]
    arrays = {"x_train__left": shown, "x_train__right": shown, "y_train__mask": BLOCKS}
    arrays |= {"x_train__table": np.zeros((COUNT, 2), np.float32), "y_train__picture": shown}
    arrays["y_train__kind"] = BLOCKS[:, 0, 0].astype(np.int64)
    spec = {"spec": arrays, "validation_split": 0.5}
    data = open_data(DataSpec(**spec, augment=(own_file(tmp_path, body),)), paired())
    inputs = next(data.train.epoch(8, 3, 0).as_numpy_iterator())[0]
    np.testing.assert_array_equal(inputs["left"], inputs["right"] + 1)
    first_alone = own_file(tmp_path, "return images['left'], targets")
    with pytest.raises(InputError, match="doesn't give each of the inputs"):
        open_data(DataSpec(**spec, augment=(first_alone,)), paired())


def test_masks_of_a_loss_of_overlap_keep_their_classes() -> None:
    """Between two classes there is none, whatever the loss is called."""
    x, y = batches(painter(3, "softmax"), PAINT[BLOCKS], PAINT[BLOCKS], loss="dice",
                   augment=("rotation:0.2",))  # fmt: skip
    assert set(np.unique(y)) == {0, 1}
    assert (x.argmax(-1) == y.argmax(-1)).mean() > 0.9


def test_what_only_a_loss_knows_stays_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "far.py").write_text(
        "import tensorflow as tf\n\ndef far(targets, outputs):\n"
        "    return tf.reduce_mean(outputs, -1) + 0 * tf.reduce_sum(targets, (1, 2))\n"
    )
    corners = RANDOM.random((COUNT, 5, 4)).astype(np.float32)
    spec = DataSpec(
        spec={"x": IMAGES, "y": corners}, loss=f"{tmp_path / 'far.py'}:far", augment=("flip",)
    )
    assert "to its loss alone, and stay as they are" in " ".join(
        open_data(spec, classifier()).warnings
    )
