"""The doctor finds what was put wrong, and nothing in a healthy model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from edge_networks import images
from keras import layers
from real_files import also_real, cifar_images

from edgepress.compress import load
from edgepress.compress.doctor import Diagnosis, doctor


def _net(seed: int = 0) -> Any:
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(6, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(),
            layers.Dense(4, activation="softmax", name="head"),
        ]
    )
    model.get_layer("norm").moving_mean.assign(np.full(6, 0.1))
    return model


def _found(diagnosis: Diagnosis, topic: str, text: str) -> list[Any]:
    return [f for f in diagnosis.findings if f.topic == topic and text in f.message]


def test_a_healthy_model_has_notes_only() -> None:
    diagnosis = doctor(_net())
    assert diagnosis.healthy
    assert {finding.severity for finding in diagnosis.findings} <= {"note"}


def test_the_worst_comes_first_and_everything_is_json() -> None:
    import json

    model = _net()
    model.get_layer("head").bias.assign([np.nan, 0, 0, 0])
    found = doctor(model).to_json()
    assert not found["healthy"]
    assert found["findings"][0]["severity"] == "problem"
    assert "NaN" in found["findings"][0]["message"]
    json.dumps(found, allow_nan=False)


def test_channels_of_zeros() -> None:
    model = _net()
    kernel = model.get_layer("conv").kernel.numpy()
    kernel[..., 2:4] = 0
    model.get_layer("conv").kernel.assign(kernel)
    (finding,) = _found(doctor(model), "weights", "kernel of zeros")
    assert finding.message.startswith("2 of 6 channels of 'conv'")


def test_a_norm_behind_a_norm() -> None:
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            layers.BatchNormalization(name="one"),
            layers.BatchNormalization(name="two"),
        ]
    )
    diagnosis = doctor(model)
    assert [f.where for f in _found(diagnosis, "graph", "just normalised")] == ["two"]
    assert _found(diagnosis, "weights", "initial statistics")


def test_open_sizes_and_augmentation_and_precision() -> None:
    model = keras.Sequential(
        [
            keras.Input((None, None, 3), name="image"),
            layers.RandomFlip(name="flip"),
            layers.Conv2D(2, 3, dtype="mixed_float16", name="half"),
        ]
    )
    diagnosis = doctor(model)
    assert _found(diagnosis, "export", "leaves sizes open")
    assert _found(diagnosis, "graph", "'flip' augment")
    assert _found(diagnosis, "graph", "float16")


def test_nothing_that_trains() -> None:
    model = _net()
    model.trainable = False
    assert _found(doctor(model), "weights", "every layer is frozen")


def test_what_pruning_cannot_reach_has_its_reason() -> None:
    (finding,) = _found(doctor(_net()), "pruning", "'head'")
    assert finding.severity == "note"
    assert "stay" in finding.message


@pytest.fixture(scope="module")
def bright() -> tuple[Any, dict[str, np.ndarray]]:
    """A model that tells dark from bright images of 0 to 1, and such images."""
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 300)
    x = random.uniform(0, 0.4, (300, 8, 8, 3)) + 0.5 * y[:, None, None, None]
    inputs = keras.Input((8, 8, 3))
    mean = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 1, activation="relu", name="c")(inputs))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax", name="head")(mean))
    model.get_layer("c").set_weights([np.eye(3).reshape(1, 1, 3, 3), np.zeros(3)])
    model.get_layer("head").set_weights([np.array([[-20.0, 20.0]] * 3), np.array([25.0, -25.0])])
    arrays = {"x_train": x[:100], "y_train": y[:100], "x_test": x[100:], "y_test": y[100:]}
    return model, {
        key: value.astype("float32" if key[0] == "x" else "int64") for key, value in arrays.items()
    }


def test_right_preprocessing_is_left_alone(bright: Any) -> None:
    model, data = bright
    diagnosis = doctor(model, data)
    assert _found(diagnosis, "data", "accuracy 1 on 200 samples")
    assert diagnosis.healthy


def test_wrong_preprocessing_is_recognised(bright: Any) -> None:
    model, data = bright
    raw = {k: v * 255 if k[0] == "x" else v for k, v in data.items()}
    diagnosis = doctor(model, raw)
    (finding,) = _found(diagnosis, "input", "preprocessing is wrong")
    assert "divided by 255" in finding.message
    assert "--scale 1/255" in finding.hint
    assert not diagnosis.healthy


def test_labels_that_say_nothing_are_remarked(bright: Any) -> None:
    model, data = bright
    random = np.random.default_rng(1)
    mixed = {**data, "y_test": random.permutation(data["y_test"])}
    assert _found(doctor(model, mixed), "data", "no better than guessing")


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize(
    ("change", "severity"),
    [
        (lambda x: x, None),
        (lambda x: 1.5 * x - 0.2, None),
        (lambda x: 255 * x, "problem"),
        (lambda x: x / 255, "problem"),
        (lambda x: 2 * x - 1, "warning"),
    ],
)
def test_a_split_of_another_scale_is_found(
    split: str, change: Callable[[Any], Any], severity: str | None
) -> None:
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3, activation="softmax")])
    rng = np.random.default_rng(0)
    data = {}
    for name in ("train", "val", "test"):
        x = rng.random((60, 6)).astype("float32")
        data[f"x_{name}"] = change(x) if name == split else x
        data[f"y_{name}"] = rng.integers(0, 3, 60)
    told = doctor(model, data).findings
    found = [f for f in told if "alike" in f.hint]
    assert {f.severity for f in found} == ({severity} if severity else set())
    assert len(found) == (0 if severity is None else 2 if split == "train" else 1)
    assert all(f"{split} split" in f.message for f in found)


def test_a_rescaling_that_is_applied_twice(bright: Any) -> None:
    _, data = bright
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Rescaling(1 / 255, name="rescale"),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    diagnosis = doctor(model, data)
    (finding,) = _found(diagnosis, "input", "again")
    assert finding.severity == "problem"


def test_logits_and_dead_layers(bright: Any) -> None:
    _, data = bright
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 1, activation="relu", name="dead"),
            layers.Flatten(),
            layers.Dense(2, name="head"),
        ]
    )
    conv = model.get_layer("dead")
    conv.set_weights([np.full((1, 1, 3, 4), -1.0), np.zeros(4)])
    diagnosis = doctor(model, data)
    assert _found(diagnosis, "output", "no softmax")
    assert _found(diagnosis, "weights", "is zero for every sample")


@pytest.mark.parametrize("name", ["resnet8.keras", *also_real("mlperf_tiny/ic/resnet8.h5")])
def test_resnet8_on_raw_pixels(edge_model: Callable[[str], Path], name: str) -> None:
    """Raw pixels are right for it, scaled ones are found out."""
    path = edge_model(name)
    if "/" in name:
        x, y = cifar_images(400)
    else:
        x = images(400, (32, 32, 3), seed=3).astype(np.uint8)
        y = load(path).predict(x.astype(np.float32), verbose=0).argmax(-1)
    good = {"x_train": x[:100], "y_train": y[:100], "x_test": x[100:], "y_test": y[100:]}
    diagnosis = doctor(path, good)
    assert diagnosis.healthy
    assert not _found(diagnosis, "data", "inputs run from")  # raw values are what it is right for
    scaled = {k: (v / 255).astype("float32") if k[0] == "x" else v for k, v in good.items()}
    diagnosis = doctor(path, scaled)
    (finding,) = _found(diagnosis, "input", "preprocessing is wrong")
    assert "multiplied by 255" in finding.message
    assert not _found(diagnosis, "weights", "are zero")  # they are so for the wrong inputs only
