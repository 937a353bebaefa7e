"""Operations that Keras traces in a form that integer kernels don't know."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import keras
import numpy as np
import pytest
from keras import layers
from variants import mostly_slow

from edgepress.benchmarks.tflite.graph import read_graph
from edgepress.deploy import export
from edgepress.deploy.exporters.tracing import trace_model
from edgepress.deploy.lowerings.graph_passes import CHANGED_FOR_INTEGERS
from edgepress.deploy.lowerings.operations import (
    Destination,
    lowered_operations,
    lowers_differently,
)

_SHAPE = (6, 4, 8)


class Moments(layers.Layer):
    """A user's layer that is written with `keras.ops`."""

    def call(self, x):
        mean, variance = keras.ops.moments(x, axes=[1], keepdims=True)
        flat, _ = keras.ops.moments(x, axes=[1, 2])
        centred = (x - mean) * keras.ops.rsqrt(variance + 0.1)
        return centred + keras.ops.expand_dims(keras.ops.expand_dims(flat, 1), 1)


def _weighted(layer: keras.Layer) -> keras.Layer:
    """The layer with other weights than zeros and ones."""
    layer.build((None, *_SHAPE))
    rng = np.random.default_rng(0)
    layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return layer


LAYERS: dict[str, Callable[[], keras.Layer]] = {
    "layer_normalization": lambda: _weighted(layers.LayerNormalization()),
    "layer_normalization_axis_1": lambda: _weighted(layers.LayerNormalization(axis=1)),
    "layer_normalization_axes": lambda: _weighted(layers.LayerNormalization(axis=[-1, 1])),
    "layer_normalization_alone": lambda: layers.LayerNormalization(center=False, scale=False),
    "group_normalization": lambda: _weighted(layers.GroupNormalization(2)),
    "group_normalization_axis_2": lambda: _weighted(layers.GroupNormalization(2, axis=2)),
    "instance_normalization": lambda: layers.GroupNormalization(-1, scale=False),
    "rms_normalization": lambda: _weighted(layers.RMSNormalization()),
    "unit_normalization": lambda: layers.UnitNormalization(),
    "prelu": lambda: _weighted(layers.PReLU()),
    "prelu_shared": lambda: _weighted(layers.PReLU(shared_axes=[1, 2])),
    "elu": lambda: layers.ELU(),
    "elu_alpha": lambda: layers.ELU(alpha=0.5),
    "selu": lambda: layers.Activation("selu"),
    "hard_silu": lambda: layers.Activation("hard_silu"),
    "moments": Moments,
}


def _network(kind: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input(_SHAPE, name="image")
    x = LAYERS[kind]()(layers.Conv2D(8, 1)(image))
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))


def _samples(count: int, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(0).normal(mean, 1, (count, *_SHAPE)).astype(np.float32)


@pytest.mark.parametrize("destination", ["int8", "int16"])
@pytest.mark.parametrize("kind", LAYERS)
def test_lowerings_compute_the_same(kind: str, destination: Destination) -> None:
    """In floats a model gives the same for all destinations."""
    model, samples = _network(kind), _samples(16, mean=0.5)
    own = model(samples).numpy()
    with lowered_operations(destination):
        other = model(samples).numpy()
    np.testing.assert_allclose(other, own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", LAYERS)
def test_graphs_show_that_other_words_are_needed(kind: str, tmp_path) -> None:
    graph = trace_model(_network(kind), tmp_path / "graph")
    assert lowers_differently(graph.operations, "int16")
    changed = {"SquaredDifference", "Selu", "Sum", *CHANGED_FOR_INTEGERS}
    assert lowers_differently(graph.operations, "int8") == (
        not changed.isdisjoint(graph.operations)
    )


@pytest.mark.parametrize(
    "kind",
    mostly_slow(
        LAYERS,
        "layer_normalization",
        "group_normalization_axis_2",
        "rms_normalization",
        "prelu_shared",
        "elu_alpha",
        "hard_silu",
        "moments",
    ),
)
def test_int16x8_files_exist_and_are_finer_than_int8(kind: str, tmp_path, worker) -> None:
    model, samples = _network(kind), _samples(64)
    data = (samples, model.predict(samples, verbose=0))
    result = export(model, tmp_path / "out", ("tflite",), ("int8", "int16x8"), data, worker=worker)
    eight, sixteen = result
    assert sixteen.verified.mean_abs_error < eight.verified.mean_abs_error


def test_other_threads_keep_keras_s_own_while_one_traces() -> None:
    """Keras's own argmax takes 0.0 for larger than -0.0, which no file's operator does."""
    zeros, own = np.float32([-0.0, 0.0]), keras.src.backend.numpy.argmax

    def index() -> int:
        return int(keras.ops.argmax(zeros))

    def traced() -> int:
        with lowered_operations():
            return index()

    with ThreadPoolExecutor(2) as pool:
        with lowered_operations():
            assert (index(), pool.submit(index).result()) == (0, 1)
            waiting = pool.submit(traced)
            assert not wait([waiting], timeout=0.05).done
        assert waiting.result() == 0
    assert keras.src.backend.numpy.argmax is own
    assert index() == 1


def test_a_large_mean_does_not_drown_what_int8_normalises(tmp_path, worker) -> None:
    """Subtracted after the division, the mean took all of int8's levels (a noise of 0.29)."""
    keras.utils.set_random_seed(0)
    series = keras.Input((16, 8), name="series")
    x = layers.Dense(8, bias_initializer=keras.initializers.Constant(20.0))(series)
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    model = keras.Model(series, layers.Dense(4)(x))
    samples = np.random.default_rng(0).normal(size=(64, 16, 8)).astype(np.float32)
    outputs = model.predict(samples, verbose=0)
    [eight] = export(
        model, tmp_path / "out", ("tflite",), ("int8",), (samples, outputs), worker=worker
    )
    assert eight.verified.mean_abs_error < 0.12 * outputs.std()


_STEPS, _IMAGE = (20, 6), (12, 10, 6)
DILATED: dict[str, tuple[tuple[int, ...], Callable[[], keras.Layer]]] = {
    "steps": (_STEPS, lambda: layers.Conv1D(4, 3, dilation_rate=3)),
    "steps_same": (_STEPS, lambda: layers.Conv1D(4, 3, dilation_rate=3, padding="same")),
    "steps_causal": (_STEPS, lambda: layers.Conv1D(4, 3, dilation_rate=2, padding="causal")),
    "steps_grouped": (_STEPS, lambda: layers.Conv1D(4, 3, dilation_rate=2, groups=2)),
    "steps_depthwise": (_STEPS, lambda: layers.DepthwiseConv1D(3, dilation_rate=3)),
    "steps_separable": (_STEPS, lambda: layers.SeparableConv1D(4, 3, dilation_rate=3)),
    "image": (_IMAGE, lambda: layers.Conv2D(4, 3, dilation_rate=2)),
    "image_rows": (_IMAGE, lambda: layers.Conv2D(4, 3, dilation_rate=(3, 1), padding="same")),
    "image_grouped": (_IMAGE, lambda: layers.Conv2D(6, 3, dilation_rate=2, groups=3)),
    "image_depthwise": (
        _IMAGE,
        lambda: layers.DepthwiseConv2D(3, dilation_rate=2, padding="same", depth_multiplier=2),
    ),
    "image_separable": (_IMAGE, lambda: layers.SeparableConv2D(4, 3, dilation_rate=2)),
}


@pytest.mark.parametrize(
    "kind", mostly_slow(DILATED, "steps_causal", "steps_grouped", "image_rows", "image_depthwise")
)
def test_dilated_convolutions_are_one_operator(kind: str, tmp_path, worker) -> None:
    """No SPACE_TO_BATCH_ND around them, and the same outputs in every format."""
    keras.utils.set_random_seed(0)
    shape, make = DILATED[kind]
    inputs = keras.Input(shape, name="inputs")
    model = keras.Model(inputs, make()(inputs))
    result = export(model, tmp_path / "out", ("tflite", "onnx", "c"), ("float32",), worker=worker)
    assert {artifact.format for artifact in result} == {"tflite", "onnx", "c"}, result.skipped
    assert all(artifact.verified.max_abs_error < 1e-5 for artifact in result)
    operators = read_graph(tmp_path / "out/model_float32.tflite").operator_names
    assert "SPACE_TO_BATCH_ND" not in operators
