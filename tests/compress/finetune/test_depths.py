from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest

from edgepress.compress import load
from edgepress.compress.finetune.depths import blocks
from edgepress.compress.finetune.select import layer_refs

layers = keras.layers


def test_a_residual_unit_is_never_cut(shared_data: Path) -> None:
    found = blocks(load(shared_data / "mlperf_tiny/ic/resnet8.h5"))
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
        "mlperf_tiny/vww/vww_96_keras3.keras",
        "models/keras3_ok/mini_xception_emotion.hdf5",
        "models/keras3_ok/se_conv1d.h5",
        "models/keras3_ok/face12net_two_outputs.h5",
    ],
)
def test_every_layer_is_in_one_block(shared_data: Path, name: str) -> None:
    model = load(shared_data / name)
    paths = [p for block in blocks(model) for p in block]
    assert sorted(paths) == sorted(r.path for r in layer_refs(model) if r.weights)
