"""MACs against what counting the loops by hand gives, and against published figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import pytest
from real_files import also_real

from edgepress.compress import load
from edgepress.compress.cost import layer_costs, model_cost

layers = keras.layers


def macs(shape: tuple[int | None, ...], layer: keras.Layer) -> int:
    x = keras.Input(shape)
    return model_cost(keras.Model(x, layer(x))).macs


@pytest.mark.parametrize(
    ("shape", "layer", "expected"),
    [
        ((7,), layers.Dense(5), 7 * 5),
        ((3, 7), layers.Dense(5), 3 * 7 * 5),
        ((8, 8, 3), layers.Conv2D(4, 3), 6 * 6 * 9 * 3 * 4),
        ((8, 8, 4), layers.Conv2D(6, 3, groups=2, padding="same", strides=2), 4 * 4 * 9 * 2 * 6),
        ((3, 8, 9), layers.Conv2D(4, 1, data_format="channels_first"), 72 * 12),
        ((8, 8, 4), layers.DepthwiseConv2D(3, depth_multiplier=2), 6 * 6 * 9 * 8),
        ((8, 8, 4), layers.SeparableConv2D(5, 3), 6 * 6 * (9 * 4 + 4 * 5)),
        ((4, 4, 3), layers.Conv2DTranspose(2, 3, strides=2), 16 * 9 * 3 * 2),
        ((10, 3), layers.Conv1D(4, 5, padding="causal", dilation_rate=2), 10 * 5 * 3 * 4),
        ((4, 4, 4, 2), layers.Conv3D(3, 2), 27 * 8 * 6),
        ((10, 3), layers.LSTM(4), 10 * 4 * 4 * (3 + 4)),
        ((10, 3), layers.GRU(4), 10 * 3 * 4 * (3 + 4)),
        ((None, 3), layers.SimpleRNN(4), 4 * (3 + 4)),
        ((10, 3), layers.Bidirectional(layers.SimpleRNN(4)), 2 * 10 * 4 * (3 + 4)),
        ((10, 3), layers.TimeDistributed(layers.Dense(4)), 10 * 3 * 4),
        ((2, 4, 4, 3), layers.ConvLSTM2D(5, 3, padding="same"), 2 * 16 * 9 * (3 + 5) * 20),
        ((3, 7), layers.EinsumDense("abc,cd->abd", (3, 5)), 3 * 7 * 5),
        ((6, 5), layers.EinsumDense("...x,xy->...y", (7,)), 6 * 5 * 7),
        ((6, 5), layers.EinsumDense("abc,bd->adc", (4, 5)), 6 * 4 * 5),
        ((8, 8, 4), layers.BatchNormalization(), 0),
    ],
    ids=lambda v: type(v).__name__,
)
def test_macs_of_one_layer(
    shape: tuple[int | None, ...], layer: keras.Layer, expected: int
) -> None:
    assert macs(shape, layer) == expected


def test_attention_counts_projections_and_both_products() -> None:
    query, value = keras.Input((3, 8)), keras.Input((5, 6))
    out = layers.MultiHeadAttention(2, 4, value_dim=3)(query, value)
    projections = 3 * 8 * 8 + 5 * 6 * 8 + 5 * 6 * 6 + 3 * 6 * 8
    products = 3 * 5 * 2 * (4 + 3)
    assert model_cost(keras.Model([query, value], out)).macs == projections + products


def test_shared_layers_cost_weights_once_and_macs_each_time() -> None:
    x = keras.Input((4,))
    dense = layers.Dense(4)
    inner = keras.Sequential([layers.Dense(3)], name="inner")
    cost = layer_costs(keras.Model(x, inner(dense(dense(x)))))
    assert [(c.name, c.params, c.macs, c.uses) for c in cost if c.params] == [
        (dense.name, 20, 32, 2),
        (f"inner/{inner.layers[0].name}", 15, 12, 1),
    ]


def test_a_nested_model_is_counted_at_the_size_that_it_receives() -> None:
    stack = [keras.Input((None, None, 3)), layers.Conv2D(4, 1, name="c")]
    inner = keras.Sequential(stack, name="i")
    inputs = keras.Input((5, 6, 3))
    model = keras.Model(inputs, inner(inputs))
    assert {c.name: c.macs for c in layer_costs(model)}["i/c"] == 30 * 12


def test_frozen_layers_and_precisions_show() -> None:
    frozen = layers.Dense(3, name="frozen", trainable=False, dtype="float16")
    model = keras.Sequential([keras.Input((4,)), frozen, layers.Dense(2)])
    costs = {c.name: c for c in layer_costs(model)}
    assert (costs["frozen"].trainable_params, costs["frozen"].bytes) == (0, 30)
    assert costs["frozen"].activation_bytes == 6
    assert model_cost(model).trainable_params == 8


class Unheard(layers.Layer):
    def build(self, shape: tuple[int | None, ...]) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")

    def call(self, inputs: object) -> object:
        return inputs * self.scale


def test_a_layer_that_multiplies_element_by_element_is_known_to_make_no_macs() -> None:
    model = keras.Sequential([keras.Input((4,)), Unheard(name="strange")])
    cost = model_cost(model)
    assert (cost.macs, cost.params, cost.unknown) == (0, 4, ())


def test_sums_are_the_models_own() -> None:
    model = keras.applications.MobileNetV2((96, 96, 3), weights=None, alpha=0.35)
    cost = model_cost(model)
    assert cost.params == model.count_params() == sum(c.params for c in layer_costs(model))
    assert cost.bytes == 4 * cost.params


@pytest.mark.parametrize(
    ("name", "millions"),
    # Published multiply-adds at 224 x 224: He et al. (2016), Sandler et al. (2018).
    [("ResNet50", 3860), ("MobileNetV2", 300)],
)
def test_published_figures(name: str, millions: float) -> None:
    model = getattr(keras.applications, name)(weights=None)
    assert model_cost(model).macs == pytest.approx(millions * 1e6, rel=0.02)


@pytest.mark.parametrize("name", ["resnet8.keras", *also_real("mlperf_tiny/ic/resnet8.h5")])
def test_resnet8_has_the_published_cost(edge_model: Callable[[str], Path], name: str) -> None:
    cost = model_cost(load(edge_model(name)))
    assert (cost.params, cost.macs) == (78_666, 12_501_632)
