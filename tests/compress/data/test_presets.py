"""Preparation by name equals what keras.applications do, and is never done twice."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgepress.compress import open_data
from edgepress.compress.data.preparation.inputs import Preparation
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec
from edgepress.deploy.exporters.tflite.metadata import normalization

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), np.uint8)
LABELS = np.arange(6) % 2


def _model(shape: tuple[int, ...] = (4, 5, 3), first: list[keras.Layer] | None = None):
    image = keras.Input(shape, name="image")
    value = image
    for layer in first or []:
        value = layer(value)
    flat = keras.layers.Flatten()(value)
    return keras.Model(image, keras.layers.Dense(2, activation="softmax")(flat))


def _prepared(model: keras.Model, pixels: np.ndarray = PIXELS, **spec) -> np.ndarray:
    data = open_data(DataSpec(spec={"x_test": pixels, "y_test": LABELS}, **spec), model)
    return np.concatenate([x for x, _ in data.test.in_order(4).as_numpy_iterator()])


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("vgg16", keras.applications.vgg16.preprocess_input),
        ("ResNet50V2", keras.applications.resnet_v2.preprocess_input),
        ("mobilenet_v2", keras.applications.mobilenet_v2.preprocess_input),
        ("DenseNet121", keras.applications.densenet.preprocess_input),
        ("EfficientNetB0", keras.applications.efficientnet.preprocess_input),
    ],
)
def test_the_preset_of_an_application_is_its_own_function(name: str, function) -> None:
    expected = function(PIXELS.astype(np.float32))
    np.testing.assert_allclose(_prepared(_model(), preprocess=name), expected, atol=1e-5)


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
def test_a_mode_is_that_of_keras_and_the_same_as_numbers(mode: str) -> None:
    function = keras.applications.imagenet_utils.preprocess_input
    expected = function(PIXELS.astype(np.float32), mode=mode)
    np.testing.assert_allclose(_prepared(_model(), preprocess=mode), expected, atol=1e-5)
    mean, std = normalization(Preparation({}, preset=mode))
    raw = PIXELS[..., ::-1] if mode == "caffe" else PIXELS
    np.testing.assert_allclose((raw - np.array(mean)) / np.array(std), expected, atol=1e-4)
    first = np.moveaxis(PIXELS, -1, 1)
    turned = _prepared(_model((3, 4, 5)), first, preprocess=mode)
    np.testing.assert_allclose(np.moveaxis(turned, 1, -1), expected, atol=1e-5)


@pytest.mark.parametrize("text", ["1/127.5", "2/255", "0.5/63.75", "1e0/127.5"])
def test_any_fraction_of_numbers_is_a_scale(text: str) -> None:
    assert DataSpec(spec="d", scale=text).scale == pytest.approx(1 / 127.5)


def _dividing() -> keras.Model:
    image = keras.Input((4, 5, 3))
    value = keras.applications.mobilenet_v2.preprocess_input(image)
    return keras.Model(image, keras.layers.Dense(2, activation="softmax")(
        keras.layers.Flatten()(value)
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("model", "spec", "message"),
    [
        (_model(), {"preprocess": "mobilenet_v22"}, "did you mean 'mobilenet_v2'"),
        (_model((4, 5, 1)), {"preprocess": "torch"}, "for colour images"),
        (_model(first=[keras.layers.Rescaling(1 / 255)]), {"preprocess": "tf"}, "applied twice"),
        (_dividing(), {"preprocess": "tf"}, "applied twice"),
        (_dividing(), {"scale": 1 / 127.5}, "applied twice"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(model, spec, message) -> None:
    with pytest.raises(InputError) as caught:
        _prepared(model, PIXELS[..., : model.input_shape[-1]], **spec)
    assert message in caught.value.format_message()


def test_a_preset_stands_alone() -> None:
    with pytest.raises(ValueError, match="one of preprocess and scale"):
        DataSpec(spec="d", preprocess="tf", scale=0.5)


def test_a_model_that_rescales_takes_the_preset_that_changes_nothing() -> None:
    model = _model(first=[keras.layers.Rescaling(1 / 255)])
    np.testing.assert_array_equal(_prepared(model, preprocess="efficientnet"), PIXELS)
