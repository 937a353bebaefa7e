"""The networks that are pruned: made here, trained once, kept by the hash of how."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepress.compress.kernel.files import content_key

RECIPE = {"optimizer": "adam", "lr": 2e-3, "schedule": "cosine", "batch_size": 64}


@dataclass(frozen=True)
class Network:
    """A network for 32 x 32 colour images, 0 to 255, into ten classes.

    Attributes:
        title: Its name in tables.
        build: Makes it untrained.
        epochs: Of its training.
        published: File below the data folder that has it trained already, or "".
    """

    title: str
    build: Callable[[], Any]
    epochs: int
    published: str = ""


def _norm(x: Any, relu: bool = True) -> Any:
    import keras

    x = keras.layers.BatchNormalization()(x)
    return keras.layers.Activation("relu")(x) if relu else x


def _ended(image: Any, x: Any, name: str) -> Any:
    import keras

    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(10, activation="softmax", name="classes")(x)
    return keras.Model(image, x, name=name)


def resnet(blocks: int, name: str) -> Any:
    """Three stages of 16, 32 and 64 channels; ResNet-8 has one block in each, ResNet-20 three."""
    import keras

    layers = keras.layers
    image = keras.Input((32, 32, 3), name="image")
    x = _norm(layers.Conv2D(16, 3, padding="same")(image))
    for filters in (16, 32, 64):
        for number in range(blocks):
            strides = 2 if filters > 16 and number == 0 else 1
            y = _norm(layers.Conv2D(filters, 3, strides, padding="same")(x))
            y = _norm(layers.Conv2D(filters, 3, padding="same")(y), relu=False)
            if strides > 1:
                x = layers.Conv2D(filters, 1, strides, padding="same")(x)
            x = layers.Activation("relu")(layers.Add()([x, y]))
    return _ended(image, x, name)


def mobilenet() -> Any:
    """MobileNetV1 at a quarter of its width; the stem and the first stage keep 32 x 32."""
    import keras

    layers = keras.layers
    image = keras.Input((32, 32, 3), name="image")
    x = _norm(layers.Conv2D(8, 3, padding="same", use_bias=False)(image))
    steps = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2)]
    for filters, strides in (*steps, (256, 1)):
        x = _norm(layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(x))
        x = _norm(layers.Conv2D(filters, 1, use_bias=False)(x))
    return _ended(image, x, "mobilenet")


NETWORKS = {
    "resnet8": Network("ResNet-8", lambda: resnet(1, "resnet8"), 60, "mlperf_tiny/ic/resnet8.h5"),
    "mobilenet": Network("MobileNet-0.25", mobilenet, 15),
    "resnet20": Network("ResNet-20", lambda: resnet(3, "resnet20"), 40),
}


def trained(name: str, data: Path, source: Path | None, folder: Path) -> Path:
    """A trained network's file.

    Args:
        name: In `NETWORKS`.
        data: The images; see `images.cifar10`.
        source: Folder that may hold published ones.
        folder: Where files are kept.
    """
    network = NETWORKS[name]
    folder.mkdir(parents=True, exist_ok=True)
    if network.published and source is not None and (source / network.published).is_file():
        found = source / network.published
        kept = folder / f"{name}-published{found.suffix}"
        if not kept.is_file():
            shutil.copyfile(found, kept)
        return kept
    key = content_key(name, network.epochs, RECIPE, data.stat().st_size)
    kept = folder / f"{name}-{key[:12]}.keras"
    if not kept.is_file():
        _train(network, data, folder / f"{name}-{key[:12]}", kept)
    return kept


def _train(network: Network, data: Path, state: Path, kept: Path) -> None:
    import keras

    from edgepress.compress.data import open_data
    from edgepress.compress.models import save
    from edgepress.compress.specs.recipe import DataSpec, TrainSpec
    from edgepress.compress.training import fit

    keras.utils.set_random_seed(0)
    model = network.build()
    spec = DataSpec(spec=str(data), augment=("flip", "crop:4"), validation_split=0.05)
    fit(
        model,
        open_data(spec, model, 0),
        TrainSpec(epochs=network.epochs, restore_best=False, **RECIPE),
        state_dir=state,
    )
    save(model, kept)
    shutil.rmtree(state, ignore_errors=True)
