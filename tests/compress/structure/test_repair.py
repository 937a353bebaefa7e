"""Repair without training brings every kind of network nearer to what it was."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from architectures import MODELS
from pruned_twins import cut, inputs_for, outputs_of, randomise

from edgepress.compress.models.fingerprints import fingerprint
from edgepress.compress.structure.repair.least_squares import (
    RowSampler,
    is_linear,
    kernel_rows,
    products,
    taps,
)
from edgepress.compress.structure.repair.refit import Bend, refit
from edgepress.compress.structure.repair.repair import repair
from edgepress.compress.structure.surgery.surgery import Surgery, remove
from edgepress.compress.structure.tracing.groups import find_channels

L = keras.layers
# One of each kind of product for the run that everybody makes.
QUICK = ["attention", "depthwise", "einsum", "gates_and_nesting", "grouped"]
QUICK += ["separable1d", "two_inputs", "volumes"]


def _cut(name: str) -> Surgery:
    channels = find_channels(randomise(MODELS[name]()))
    return remove(channels, cut(channels, 0.35))


def _samples(model: keras.Model, seed: int, count: int = 128) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    made = {}
    for tensor in model.inputs:
        shape = (count, *tensor.shape[1:])
        whole = "int" in tensor.dtype
        value = rng.integers(0, 4, shape) if whole else rng.normal(size=shape)
        made[tensor._keras_history.operation.name] = value.astype(tensor.dtype)
    return made


def _error(surgery: Surgery, samples: dict[str, Any]) -> float:
    inputs = list(samples.values())
    inputs = inputs if len(inputs) > 1 else inputs[0]
    models = surgery.channels.model, surgery.model
    pairs = zip(*(outputs_of(m, inputs) for m in models), strict=True)
    return sum(float(np.square(a - b).mean() / a.var()) for a, b in pairs)


def _check(name: str) -> None:
    surgery = _cut(name)
    before = fingerprint(surgery.channels.model)
    seen, unseen = (_samples(surgery.channels.model, seed) for seed in (1, 2))
    errors = [_error(surgery, s) for s in (seen, unseen)]
    assert repair(surgery, seen)
    assert _error(surgery, seen) < 0.8 * errors[0]
    assert _error(surgery, unseen) < 0.9 * errors[1]
    assert fingerprint(surgery.channels.model) == before


@pytest.mark.parametrize("name", QUICK)
def test_repair_brings_the_outputs_nearer(name: str) -> None:
    _check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name not in QUICK])
def test_repair_brings_the_outputs_of_all_others_nearer(name: str) -> None:
    _check(name)


def test_a_repair_that_does_harm_is_taken_back() -> None:
    """One sample can't say what a layer does; what is fitted to its rounding is not kept."""
    surgery = _cut("unet")
    twin = remove(surgery.channels, surgery.channels.all_alive())
    weights = twin.model.get_weights()
    assert repair(twin, _samples(twin.model, 0, 1)) == ()
    assert all(np.array_equal(a, b) for a, b in zip(weights, twin.model.get_weights(), strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_products_are_what_the_layers_compute(name: str) -> None:
    """Rows times kernel plus bias is the layer's output before its activation."""
    model = randomise(MODELS[name]())
    for layer in model._flatten_layers():
        kinds = (L.Dense, L.EinsumDense, L.DepthwiseConv1D, L.DepthwiseConv2D)
        if not isinstance(layer, kinds) and not hasattr(layer, "filters"):
            continue
        for node in layer._inbound_nodes:
            found = products(layer)
            if not found or any(n is None for n in node.input_tensors[0].shape[1:]):
                continue
            (product,) = found
            inputs = inputs_for(keras.Model(node.input_tensors[0], node.output_tensors[0]))
            held, layer.activation = layer.activation, keras.activations.linear
            expected = np.asarray(layer(inputs))
            layer.activation = held
            kernel = product.kernel()
            rows = product.rows(inputs).reshape(-1, len(kernel), kernel.shape[1])
            made = np.einsum("nbf,bfo->nbo", rows, kernel).reshape(len(rows), -1)
            made = made + product.offsets()
            if getattr(layer, "data_format", "") == "channels_first":
                expected = np.moveaxis(expected, 1, -1)
            assert np.allclose(made, expected.reshape(made.shape), atol=1e-4)
            assert np.array_equal(product.unfold(kernel), np.asarray(product.weight, np.float64))


def test_what_a_rectifier_hides_needn_t_be_met() -> None:
    """With too few features for all outputs, those that show come nearer at the others' cost."""
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(4000, 12))
    kernel = rng.normal(size=(12, 6))
    wanted, inputs = whole @ kernel, whole[:, :8]
    bend = Bend(np.ones(6), np.zeros((1, 6)), 0.0, np.inf)
    plain = refit(inputs, wanted, kernel[:8])
    bent = refit(inputs, wanted, kernel[:8], bend=bend)

    def miss(found: tuple[Any, Any]) -> float:
        made = np.maximum(inputs @ found[0] + found[1], 0)
        return float(np.square(made - np.maximum(wanted, 0)).mean())

    assert miss(bent) < 0.97 * miss(plain)


def test_batch_normalisation_of_places_is_not_taken_for_one_of_channels() -> None:
    i = keras.Input((6, 8))
    x = keras.layers.Dense(12, activation="relu")(keras.layers.Dense(16)(i))
    x = keras.layers.BatchNormalization(axis=1)(keras.layers.Dense(12, name="before")(x))
    model = randomise(keras.Model(i, keras.layers.Dense(3)(x)))
    channels = find_channels(model)
    surgery = remove(channels, cut(channels, 0.25))
    x = np.random.default_rng(0).normal(size=(200, 6, 8)).astype("float32")
    expected = np.asarray(model(x))
    cut_only = float(np.square(np.asarray(surgery.model(x)) - expected).mean())
    repair(surgery, {i.name: x})
    assert np.square(np.asarray(surgery.model(x)) - expected).mean() < cut_only


@pytest.mark.parametrize(
    ("build", "shape", "places"),
    [
        (lambda: L.Dense(3), (4,), 1),
        (lambda: L.Dense(3), (5, 4), 1),
        (lambda: L.Conv1D(3, 2, padding="causal", dilation_rate=2), (9, 4), 2),
        (lambda: L.Conv2D(5, (3, 2), strides=2, padding="same"), (7, 6, 4), 6),
        (lambda: L.Conv2D(5, 3, dilation_rate=2), (9, 8, 2), 9),
    ],
)
def test_rows_that_are_drawn_give_the_outputs_at_the_same_places(
    build: Any, shape: tuple[int, ...], places: int
) -> None:
    layer = build()
    inputs = np.random.default_rng(0).normal(size=(70, *shape)).astype(np.float32)
    outputs = layer(inputs)
    layer.bias.assign(np.arange(layer.bias.shape[0]))
    sampler = RowSampler(50, seed=3)
    rows = sampler.rows(layer, inputs)
    made = rows @ kernel_rows(layer) + layer.bias.numpy()
    expected = sampler.points(layer(inputs), -1)
    assert is_linear(layer)
    assert taps(layer) == places
    assert 30 < len(rows) < np.prod(outputs.shape[:-1])
    np.testing.assert_allclose(made, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("equation", "sizes", "shape", "rows"),
    [
        ("ab,bc->ac", (3,), (4,), 4),
        ("abc,cd->abd", (None, 3), (5, 4), 4),
        ("abc,bcde->ade", (2, 3), (5, 4), 20),
        ("abc,cd->adb", (3, None), (5, 4), None),
        ("ab,bc->abc", (4, 3), (4,), None),
    ],
)
def test_an_equation_is_a_product_where_the_last_axes_are_summed(
    equation: str, sizes: tuple[int | None, ...], shape: tuple[int, ...], rows: int | None
) -> None:
    layer = L.EinsumDense(equation, sizes)
    layer(np.ones((2, *shape), np.float32))
    found = products(layer)
    assert [product.kernel().shape[1] for product in found] == ([] if rows is None else [rows])
