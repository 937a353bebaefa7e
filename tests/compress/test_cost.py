"""MACs against what an outside count of the loops gives."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest
from keras import layers

from edgepress.compress import load
from edgepress.compress.cost import layer_costs, model_cost


def macs(shape: tuple[int, ...], layer: keras.Layer) -> int:
    x = keras.Input(shape)
    return model_cost(keras.Model(x, layer(x))).macs


@pytest.mark.parametrize(
    ("shape", "layer", "expected"),
    [
        ((7,), layers.Dense(5), 7 * 5),
        ((3, 7), layers.Dense(5), 3 * 7 * 5),
        ((8, 8, 3), layers.Conv2D(4, 3), 6 * 6 * 9 * 3 * 4),
        ((8, 8, 4), layers.Conv2D(6, 3, groups=2, padding="same", strides=2), 4 * 4 * 9 * 2 * 6),
        ((8, 8, 4), layers.DepthwiseConv2D(3, depth_multiplier=2), 6 * 6 * 9 * 8),
        ((8, 8, 4), layers.SeparableConv2D(5, 3), 6 * 6 * (9 * 4 + 4 * 5)),
        ((4, 4, 3), layers.Conv2DTranspose(2, 3, strides=2), 16 * 9 * 3 * 2),
        ((10, 3), layers.Conv1D(4, 5, padding="causal", dilation_rate=2), 10 * 5 * 3 * 4),
        ((10, 3), layers.LSTM(4), 10 * 4 * 4 * (3 + 4)),
        ((10, 3), layers.GRU(4), 10 * 3 * 4 * (3 + 4)),
        ((10, 3), layers.Bidirectional(layers.SimpleRNN(4)), 2 * 10 * 4 * (3 + 4)),
        ((10, 3), layers.TimeDistributed(layers.Dense(4)), 10 * 3 * 4),
        ((3, 7), layers.EinsumDense("abc,cd->abd", (3, 5)), 3 * 7 * 5),
        ((8, 8, 4), layers.BatchNormalization(), 0),
    ],
    ids=lambda v: type(v).__name__,
)
def test_macs_of_one_layer(shape: tuple[int, ...], layer: keras.Layer, expected: int) -> None:
    assert macs(shape, layer) == expected


def test_shared_layers_cost_weights_once_and_macs_each_time() -> None:
    x = keras.Input((4,))
    dense = layers.Dense(4)
    inner = keras.Sequential([layers.Dense(3)], name="inner")
    cost = layer_costs(keras.Model(x, inner(dense(dense(x)))))
    assert [(c.name, c.params, c.macs) for c in cost if c.params] == [
        (dense.name, 20, 32),
        (f"inner/{inner.layers[0].name}", 15, 12),
    ]


def test_resnet8_has_the_published_cost(shared_data: Path) -> None:
    cost = model_cost(load(shared_data / "mlperf_tiny" / "ic" / "resnet8.h5"))
    assert (cost.params, cost.macs) == (78_666, 12_501_632)
