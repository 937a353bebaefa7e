from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
from architectures import MODELS
from real_files import also_real

from edgepress.compress import load
from edgepress.compress.training.freezing.depths import blocks
from edgepress.compress.training.freezing.select import layer_refs

layers = keras.layers


EdgeModel = Callable[[str], Path]


@pytest.mark.parametrize("name", ["resnet8.keras", *also_real("mlperf_tiny/ic/resnet8.h5")])
def test_a_residual_unit_is_never_cut(edge_model: EdgeModel, name: str) -> None:
    found = blocks(load(edge_model(name)))
    assert [len(b) for b in found] == [6, 5, 5, 1]
    assert found[-1] == ("dense",)


def test_nested_models_are_opened(networks: Any) -> None:
    expected = (("conv1", "bn1"), ("block/conv2", "block/bn2"), ("head",))
    assert blocks(networks.classifier()) == expected


def test_a_plain_stack_is_cut_at_every_layer_with_its_normalisation() -> None:
    stack: list[Any] = [keras.Input((8,))]
    for i in range(3):
        stack += [layers.Dense(4, name=f"d{i}"), layers.BatchNormalization(name=f"n{i}")]
    assert blocks(keras.Sequential(stack)) == (("d0", "n0"), ("d1", "n1"), ("d2", "n2"))


def test_skips_over_everything_and_shared_layers() -> None:
    inputs = keras.Input((8, 8, 2))
    shared = layers.Conv2D(2, 3, padding="same", name="shared")
    down = layers.Conv2D(4, 3, strides=2, padding="same", name="down")(shared(inputs))
    up = layers.Conv2DTranspose(2, 2, strides=2, name="up")(down)
    outputs = layers.Conv2D(1, 1, name="out")(layers.Add()([shared(up), inputs]))
    found = blocks(keras.Model(inputs, outputs))
    assert sorted(p for b in found for p in b) == ["down", "out", "shared", "up"]
    assert all(found)


@pytest.mark.parametrize(
    "name",
    [
        *MODELS,
        "mobilenet.keras",
        "branches.keras",
        *also_real(
            "mlperf_tiny/vww/vww_96_keras3.keras",
            "models/keras3_ok/mini_xception_emotion.hdf5",
            "models/keras3_ok/se_conv1d.h5",
            "models/keras3_ok/face12net_two_outputs.h5",
        ),
    ],
)
def test_every_layer_is_in_one_block(edge_model: EdgeModel, name: str) -> None:
    model = MODELS[name]() if name in MODELS else load(edge_model(name))
    paths = [p for block in blocks(model) for p in block]
    assert sorted(paths) == sorted(r.path for r in layer_refs(model) if r.weights)
