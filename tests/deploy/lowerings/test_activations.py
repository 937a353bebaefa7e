"""Activations of ordinary values keep their levels in integers, and are finite in floats."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers
from variants import mostly_slow

from edgepress.deploy import export
from edgepress.deploy.exporters.tracing import trace_model
from edgepress.deploy.lowerings.operations import lowered_operations

_OF_LARGE_VALUES: dict[str, Callable] = {
    "softplus": keras.ops.softplus,
    "log_sigmoid": keras.ops.log_sigmoid,
    "mish": layers.Activation("mish"),
    "selu": keras.ops.selu,
}


@pytest.mark.parametrize("kind", ["softplus", "log_sigmoid", "selu"])
def test_lowered_activations_compute_the_same(kind: str) -> None:
    x = np.linspace(-30, 30, 301).astype(np.float32)
    own = np.asarray(_OF_LARGE_VALUES[kind](x))
    with lowered_operations("int8"):
        other = np.asarray(_OF_LARGE_VALUES[kind](x))
    np.testing.assert_allclose(other, own, atol=1e-5)


@pytest.mark.parametrize("kind", mostly_slow(_OF_LARGE_VALUES, "softplus"))
def test_exponentials_of_large_values_do_not_take_all_levels(kind, tmp_path, worker) -> None:
    """An int8 file had a noise of 1.2, one in int16x8 of 7."""
    keras.utils.set_random_seed(0)
    wide = keras.initializers.RandomNormal(stddev=1.2)
    values = keras.Input((16,), name="values")
    x = _OF_LARGE_VALUES[kind](layers.Dense(16, kernel_initializer=wide)(values))
    model = keras.Model(values, layers.Dense(4)(x))
    samples = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)
    outputs = np.asarray(model(samples))
    files = export(
        model, tmp_path / "out", ("tflite",), ("int8", "int16x8"), (samples, outputs), worker=worker
    )
    eight, sixteen = (file.verified.mean_abs_error for file in files)
    assert sixteen < 0.01 * outputs.std() < eight < 0.05 * outputs.std()


def test_softplus_of_large_values_is_finite(tmp_path, worker) -> None:
    """It is log(1 + exp(x)) to TensorFlow's converter, and exp(100) is infinite."""
    values = keras.Input((4,), name="values")
    model = keras.Model(values, keras.ops.softplus(values))
    large = 100 * np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    data = (large, np.asarray(model(large)))
    result = export(model, tmp_path / "out", ("tflite",), ("float32",), data, worker=worker)
    assert result.passed, result.failed


_PLACES = (3, 4, 5)


@pytest.mark.parametrize("axes", [(1, 2), (-1, -2), (1, 3), (1, 2, 3)])
@pytest.mark.parametrize("masked", [False, True])
def test_softmax_over_several_axes_is_one_operator(axes, masked: bool, tmp_path) -> None:
    """By exponentials, LiteRT's reference kernels gave noise of 0.36 in int8, 1.5 in 16 bits."""
    rng = np.random.default_rng(0)
    mask = rng.random((1, *_PLACES)) > 0.4 if masked else None
    inputs = keras.Input(_PLACES, name="inputs")
    model = keras.Model(inputs, layers.Softmax(axes)(inputs, mask=mask))
    x = rng.normal(size=(6, *_PLACES)).astype(np.float32)
    own = model(x).numpy()
    with lowered_operations("float"):
        np.testing.assert_allclose(model(x).numpy(), own, atol=1e-6)
    operations = trace_model(model, tmp_path / "graph").operations
    assert "Softmax" in operations
    assert "Exp" not in operations


def test_softmax_over_axes_of_free_sizes_is_left_as_it_is() -> None:
    inputs = keras.Input((None, None, 3), name="inputs")
    model = keras.Model(inputs, layers.Softmax((1, 2))(inputs))
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    with lowered_operations("float"):
        np.testing.assert_allclose(model(x).numpy().sum((1, 2)), 1, atol=1e-5)


@pytest.mark.parametrize("axis", [None, -1, (1, 2)])
def test_logarithms_of_sums_ask_for_no_infinity(axis, tmp_path) -> None:
    """ONNX has IsInf for 32 bits alone, and a file in float16 was refused."""
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    x[0, 0], x[0, 1, 1], x[1] = -np.inf, np.inf, 200
    own = keras.ops.logsumexp(x, axis)
    with lowered_operations("onnx"):
        np.testing.assert_allclose(keras.ops.logsumexp(x, axis), own, rtol=1e-6)
    inputs = keras.Input((3, 4), name="inputs")
    model = keras.Model(inputs, keras.ops.logsumexp(inputs, axis=(1, 2), keepdims=True))
    graph = trace_model(model, tmp_path / "graph", destination="onnx")
    assert not {"IsFinite", "IsInf"} & set(graph.operations)
