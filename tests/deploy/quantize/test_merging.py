"""Parallel linear branches become one layer, and the model gives what it gave."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers, ops

from edgepress.benchmarks.tflite.graph import read_graph
from edgepress.deploy import export
from edgepress.deploy.exporters.tracing import output_names
from edgepress.deploy.quantize.merging import merge_branches


def _normed(x):
    return layers.BatchNormalization()(x)


def _repvgg(x, strides=1):
    width = x.shape[-1]
    y = _normed(layers.Conv2D(width, 3, strides, padding="same", use_bias=False)(x))
    y = y + _normed(layers.Conv2D(width, 1, strides, padding="same", use_bias=False)(x))
    return layers.ReLU()(y + _normed(x) if strides == 1 else y)


def _mobileone(x):
    parts = [_normed(layers.DepthwiseConv2D(3, padding="same")(x)) for _ in range(3)]
    parts += [_normed(layers.DepthwiseConv2D(1, padding="same")(x)), _normed(x)]
    x = layers.ReLU()(layers.Add()(parts))
    parts = [_normed(layers.Conv2D(x.shape[-1], 1)(x)) for _ in range(4)]
    return layers.ReLU()(layers.Add()([*parts, _normed(x)]))


def _nested(x):
    inner = keras.Input(x.shape[1:])
    return keras.Model(inner, _repvgg(inner))(x)


IMAGE, SERIES = (9, 8, 4), (12, 4)
# Shape of the inputs, what is done to them, and how many layers with a kernel are left.
MERGED: dict[str, tuple[tuple[int, ...], Callable, int]] = {
    "repvgg": (IMAGE, _repvgg, 1),
    "repvgg, strided": (IMAGE, lambda x: _repvgg(x, 2), 1),
    "mobileone": (IMAGE, _mobileone, 2),
    "in a model": (IMAGE, _nested, 1),
    "grouped": (IMAGE, lambda x: x + layers.Conv2D(4, 3, padding="same", groups=2)(x), 1),
    "asymmetric": (
        IMAGE,
        lambda x: layers.Add()(
            [layers.Conv2D(6, size, padding="same")(x) for size in ((3, 3), (1, 3), (3, 1), (1, 1))]
        ),
        1,
    ),
    "dense": (SERIES, lambda x: x + layers.Dense(4)(x) + layers.Dense(4, use_bias=False)(x), 1),
    "causal, dilated": (
        SERIES,
        lambda x: layers.Add()(
            [layers.Conv1D(4, size, padding="causal", dilation_rate=2)(x) for size in (5, 3, 1)]
        ),
        1,
    ),
    "beside another tensor": (
        SERIES,
        lambda x: layers.Add()([layers.Dense(4)(x), layers.ReLU()(x), layers.Dense(4)(x)]),
        1,
    ),
}


def _activated(x):
    return layers.Dense(4, activation="relu")(x) + layers.Dense(4)(x)


def _read_twice(x):
    y, z = layers.Dense(4)(x), layers.Dense(4)(x)
    return layers.Concatenate()([y + z, y, z])


def _shared(x):
    layer = layers.Dense(4)
    return layer(x) + layer(layers.ReLU()(x))


APART: dict[str, tuple[tuple[int | None, ...], Callable]] = {
    "activated": (SERIES, _activated),
    "read twice": (SERIES, _read_twice),
    "shared": (SERIES, _shared),
    "of two tensors": (SERIES, lambda x: layers.Dense(4)(x) + layers.Dense(4)(layers.ReLU()(x))),
    "of other steps": (
        SERIES,
        lambda x: (
            layers.Conv1D(4, 3, padding="same", dilation_rate=2)(x)
            + layers.Conv1D(4, 3, padding="same")(x)
        ),
    ),
    "strided over free sizes": (
        (None, None, 4),
        lambda x: (
            layers.Conv2D(4, 3, 2, padding="same")(x) + layers.Conv2D(4, 1, 2, padding="same")(x)
        ),
    ),
}


def _model(shape, change: Callable) -> keras.Model:
    """A model whose weights, normalisations among them, are drawn."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape, name="inputs")
    model = keras.Model(inputs, change(inputs))
    rng = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


def _kernels(model: keras.Model) -> int:
    return sum(hasattr(layer, "kernel") for layer in model._flatten_layers())


@pytest.mark.parametrize("kind", MERGED)
def test_merged_branches_give_the_same(kind: str) -> None:
    shape, change, left = MERGED[kind]
    model = _model(shape, change)
    merged = merge_branches(model)
    assert _kernels(merged) == left
    assert output_names(merged) == output_names(model)
    x = np.random.default_rng(1).normal(size=(4, *shape)).astype(np.float32)
    own = model(x).numpy()
    np.testing.assert_allclose(merged(x).numpy(), own, atol=1e-5 * np.abs(own).max())


@pytest.mark.parametrize("kind", APART)
def test_what_is_no_sum_of_linear_branches_stays(kind: str) -> None:
    model = _model(*APART[kind])
    assert _kernels(merge_branches(model)) == _kernels(model)


def test_files_hold_merged_branches(tmp_path, worker) -> None:
    """Equal to the model within 1e-5, in one convolution for each block."""
    model = _model(IMAGE, lambda x: ops.mean(_repvgg(_repvgg(x)), (1, 2)))
    x = np.random.default_rng(1).normal(size=(16, *IMAGE)).astype(np.float32)
    data = (x, model(x).numpy())
    (file,) = export(model, tmp_path / "out", ("tflite",), ("float32",), data, worker=worker)
    assert file.verified.max_abs_error < 1e-5
    graph = read_graph(tmp_path / "out/model_float32.tflite")
    assert [operator.name for operator in graph.operators] == ["CONV_2D", "CONV_2D", "MEAN"]
