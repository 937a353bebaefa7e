"""MACs of what has no formula: layers of one's own, layers in layers, operations, loops.

The independent counter is TensorFlow's own profiler on the frozen graph.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from edgepress import compress
from edgepress.compress.cost import layer_costs, model_cost
from edgepress.compress.models import load

MULTIPLYING = ["Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMul.*"]


def profiled(model: Any) -> int:
    """Multiply-accumulates as TensorFlow's profiler has them: half of the operations."""
    specs = [tf.TensorSpec((1, *t.shape[1:]), t.dtype) for t in model.inputs]

    def call(*given: Any) -> Any:
        return model(list(given) if len(given) > 1 else given[0], training=False)

    tf.config.run_functions_eagerly(True)  # compiled parts would stay closed to the profiler
    try:
        function = tf.function(call, autograph=False).get_concrete_function(*specs)
    finally:
        tf.config.run_functions_eagerly(False)
    graph = convert_variables_to_constants_v2(function).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options |= {"output": "none", "account_type_regexes": MULTIPLYING}
    found = tf.compat.v1.profiler.profile(graph, options=options, cmd="op")
    return int(found.total_float_ops) // 2


class Attention(layers.Layer):
    """An attention of four EinsumDense, as people write it."""

    def __init__(self, heads: int, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.heads, self.width = heads, width
        shape = (None, heads, width)
        self.parts = [layers.EinsumDense("btf,fhd->bthd", shape, name=name) for name in "qkv"]

    def build(self, shape: Any) -> None:
        for part in self.parts:
            part.build(shape)
        self.out = layers.EinsumDense("bthd,hdf->btf", (None, shape[-1]), name="out")
        self.out.build((*shape[:-1], self.heads, self.width))
        super().build(shape)

    def call(self, x: Any) -> Any:
        q, k, v = (part(x) for part in self.parts)
        weights = ops.softmax(ops.einsum("bthd,bshd->bhts", q, k))
        return self.out(ops.einsum("bhts,bshd->bthd", weights, v))


class Thrice(layers.Layer):
    """One inner layer, called three times."""

    def build(self, shape: Any) -> None:
        self.inner = layers.Dense(shape[-1])
        self.inner.build(shape)
        super().build(shape)

    def call(self, x: Any) -> Any:
        for _ in range(3):
            x = self.inner(x)
        return x

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


class Outer(layers.Layer):
    """A layer that holds a layer that holds one, and a model."""

    def build(self, shape: Any) -> None:
        self.inner = Thrice()
        self.inner.build(shape)
        self.model = keras.Sequential([keras.Input(shape[1:]), layers.Dense(5)])
        super().build(shape)

    def call(self, x: Any) -> Any:
        return self.model(self.inner(x))


@keras.saving.register_keras_serializable("counting")
class Cell(layers.Layer):
    """A recurrent cell made of two Dense."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = self.state_size = units
        self.reads, self.repeats = layers.Dense(units), layers.Dense(units)

    def build(self, shape: Any) -> None:
        self.reads.build(shape)
        self.repeats.build((shape[0], self.units))
        super().build(shape)

    def call(self, x: Any, states: Any) -> Any:
        out = self.reads(x) + self.repeats(states[0])
        return out, [out]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class OwnScores(layers.MultiHeadAttention):
    """Keras' attention with a product more."""

    def _compute_attention(self, query: Any, key: Any, value: Any, *args: Any, **kw: Any) -> Any:
        width = query.shape[-1]
        return super()._compute_attention(
            ops.matmul(query, ops.eye(width)), key, value, *args, **kw
        )


class LowRank(layers.Dense):
    """A Dense that multiplies twice."""

    def call(self, x: Any) -> Any:
        return ops.matmul(ops.matmul(x, self.kernel), ops.ones((self.units, self.units)))


def _fixed(x: Any, kernel: Any) -> Any:
    return ops.fori_loop(0, 4, lambda _, y: ops.matmul(y, kernel), x)


def _open(x: Any, kernel: Any) -> Any:
    return tf.while_loop(lambda y: tf.reduce_sum(y) < 100, lambda y: (tf.matmul(y, kernel),), (x,))[
        0
    ]


def _branches(x: Any, kernel: Any) -> Any:
    return ops.cond(ops.sum(x) > 0, lambda: ops.matmul(x, kernel), lambda: x)


def _python(x: Any, kernel: Any) -> Any:
    out = tf.numpy_function(lambda a: a, [ops.matmul(x, kernel)], tf.float32)
    out.set_shape(x.shape)
    return out


def _raises(x: Any, kernel: Any) -> Any:
    raise RuntimeError("not in a graph")


@tf.function
def _product(x: Any, kernel: Any) -> Any:
    return tf.matmul(x, kernel)


USES: dict[str, Callable[[Any, Any], Any]] = {
    "fixed": _fixed,
    "function": lambda x, kernel: _product(x, 1.0 * kernel),
    "open": _open,
    "branches": _branches,
    "python": _python,
    "raises": _raises,
}


class Weighted(layers.Layer):
    """A square matrix, used as one of `USES`."""

    def __init__(self, use: str, **options: Any) -> None:
        super().__init__(**options)
        self.use = use

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]))
        super().build(shape)

    def call(self, x: Any) -> Any:
        return USES[self.use](x, self.kernel)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "use": self.use}

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


def array(*shape: int) -> Any:
    return np.ones(shape, "float32")


def model_of(shape: tuple[int | None, ...], call: Callable[[Any], Any]) -> keras.Model:
    x = keras.Input(shape)
    return keras.Model(x, call(x))


def _spectral(x: Any) -> Any:
    return layers.SpectralNormalization(layers.Conv2D(4, 3))(x)


# Networks all of whose products the profiler sees.
SEEN: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {
    "attention": ((5, 8), lambda x: Attention(2, 4)(x)),
    "shared inner layer": ((8,), lambda x: Thrice()(x)),
    "layers in layers": ((8,), lambda x: Outer()(x)),
    "time distributed": ((7, 8), lambda x: layers.TimeDistributed(Thrice())(x)),
    "lambda": ((6,), lambda x: layers.Lambda(lambda t: ops.matmul(t, array(6, 4)))(x)),
    "constant on the right": ((6,), lambda x: ops.matmul(x, array(6, 4))),
    "constant on the left": ((6, 3), lambda x: ops.matmul(array(2, 6), x)),
    "dot": ((6,), lambda x: ops.dot(x, array(6, 4))),
    "convolution": ((8, 8, 3), lambda x: ops.conv(x, array(3, 3, 3, 5))),
    "wrapper": ((8, 8, 3), _spectral),
    "own dense": ((6,), lambda x: LowRank(4)(x)),
    "unrolled cells": ((4, 3), lambda x: layers.RNN(Cell(5), unroll=True)(x)),
    "mel": ((4000,), lambda x: layers.MelSpectrogram(fft_length=256)(x)),
}


@pytest.mark.parametrize("name", SEEN)
def test_tensorflows_profiler_counts_the_same(name: str) -> None:
    model = model_of(*SEEN[name])
    macs = model_cost(model).macs
    assert macs > 0
    if name == "unrolled cells":  # the profiler leaves out products with the zeros at the start
        assert macs == 4 * (3 * 5 + 5 * 5)
    else:
        assert macs == profiled(model)


@pytest.mark.parametrize(
    ("shape", "call", "expected"),
    [
        ((7, 3), lambda x: layers.RNN(Cell(5))(x), 7 * (15 + 25)),
        ((7, 3), lambda x: layers.RNN(Cell(5), return_sequences=True)(x), 7 * (15 + 25)),
        ((7, 3), lambda x: layers.Bidirectional(layers.RNN(Cell(5)))(x), 2 * 7 * (15 + 25)),
        ((None, 3), lambda x: layers.RNN(Cell(5))(x), 15 + 25),
        (
            (7, 3),
            lambda x: layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)])(x),
            7 * (16 * 7 + 9 * 7),
        ),
        ((5, 6), lambda x: ops.einsum("btf,bsf->bts", x, x), 5 * 5 * 6),
        ((6, 2, 4), lambda x: ops.dot_product_attention(x, x, x), 2 * 6 * 6 * 2 * 4),
        ((6,), lambda x: ops.sum(x * layers.Dense(6)(x), -1), 36 + 6),
        ((5, 8), lambda x: OwnScores(2, 4)(x, x), 4 * 5 * 64 + 2 * 25 * 8 + 5 * 2 * 16),
        ((None, 8), lambda x: Attention(2, 4)(x), 4 * 64 + 2 * 8),
    ],
)
def test_loops_and_products_of_activations(
    shape: tuple[int | None, ...], call: Callable[[Any], Any], expected: int
) -> None:
    cost = model_cost(model_of(shape, call))
    assert (cost.macs, cost.uncounted) == (expected, ())


@pytest.mark.parametrize(
    ("use", "macs", "reason"),
    [
        ("fixed", 4 * 36, ""),
        ("function", 36, ""),
        ("open", 36, "loops until the data ends it"),
        ("branches", 36, "one of its branches"),
        ("python", 36, "Python code"),
        ("raises", 0, "not in a graph"),
    ],
)
def test_what_a_graph_does_not_tell_is_named(use: str, macs: int, reason: str) -> None:
    model = model_of((6,), lambda x: Weighted(use, name="own")(x))
    found = compress.inspect(model)
    assert found.macs == macs
    assert [(u.layer, reason in u.reason) for u in found.uncounted] == [("own", True)] * bool(
        reason
    )


def test_a_subclassed_model_is_counted_by_layer() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = layers.Dense(4, name="one"), layers.Dense(3, name="two")

        def call(self, x: Any) -> Any:
            return ops.matmul(self.second(self.first(x)), array(3, 2))

    model = Own()
    assert model_cost(model).uncounted
    model(array(2, 6))
    costs = {c.name: c.macs for c in layer_costs(model)}
    assert (costs["one"], costs["two"], costs[model.name]) == (24, 12, 6)
    assert not model_cost(model).uncounted


def nested(python: bool = False) -> keras.Model:
    def call(x: Any) -> Any:
        x = Attention(2, 8, name="att")(layers.Dense(24, name="a")(x))
        x = layers.Dense(64, "relu", name="b")(x)
        if python:
            x = Weighted("python", name="hidden")(x)
        x = layers.Dense(48, "relu", name="c")(x)
        return layers.Dense(10, name="out")(layers.GlobalAveragePooling1D()(x))

    return model_of((5, 8), call)


def test_a_target_is_held_with_the_macs_of_nested_layers() -> None:
    model = nested()
    found = compress.prune(model, structure="channels", target_macs=0.6)
    assert found.before.macs == model_cost(model).macs
    assert found.after.macs == model_cost(found.model).macs <= 0.6 * found.before.macs
    assert {p.layer: p.channels for p in found.pinned} == {"a": 24, "out": 10}


def test_pruning_says_what_a_target_cannot_see() -> None:
    found = compress.prune(nested(python=True), structure="channels", target_macs=0.9)
    assert [u.layer for u in found.uncounted] == ["hidden"]
    assert found.to_json()["uncounted"][0]["layer"] == "hidden"
    assert any("can't see" in note and "'hidden'" in note for note in found.notes)


def test_a_pinned_group_is_as_wide_as_its_layer() -> None:
    def call(x: Any) -> Any:
        x = layers.Permute((3, 1, 2))(layers.Conv2D(16, 3, name="conv")(x))
        return layers.Dense(3, name="out")(layers.Flatten()(layers.Dense(6, name="dense")(x)))

    groups = {g.id: g for g in compress.inspect(model_of((8, 8, 3), call)).groups}
    assert not groups["conv"].prunable
    assert groups["conv"].channels == 16


APPLICATIONS = sorted(
    name
    for name, value in vars(keras.applications).items()
    if callable(value) and name[0].isupper()
)


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_applications_cost_what_tensorflows_profiler_says(name: str) -> None:
    side = 331 if name.startswith("NASNet") else 96
    options = {"input_shape": (side, side, 3), "include_top": not name.startswith("NASNet")}
    model = getattr(keras.applications, name)(weights=None, **options)
    cost = model_cost(model)
    assert cost.uncounted == ()
    assert cost.macs == profiled(model)
    del model
    keras.backend.clear_session()
    gc.collect()


def test_a_published_model_of_layers_in_layers_needs_no_formula(shared_data: Path) -> None:
    model = load(shared_data / "mlperf_tiny" / "ic" / "resnet8.h5")
    wrapped = model_of(model.input_shape[1:], lambda x: Holder(model)(x))
    assert model_cost(wrapped).macs == model_cost(model).macs


class Holder(layers.Layer):
    """A whole model in a layer."""

    def __init__(self, model: keras.Model, **options: Any) -> None:
        super().__init__(**options)
        self.model = model

    def call(self, x: Any) -> Any:
        return self.model(x)
