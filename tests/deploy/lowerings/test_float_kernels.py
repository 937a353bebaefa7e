"""Models that Keras's own `quantize` rounded: exported by the values of their kernels."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest
from keras import layers
from keras.quantizers import Int4QuantizationConfig, Int8QuantizationConfig

from edgepress.compress import inspect
from edgepress.compress.errors import InputError
from edgepress.deploy import export
from edgepress.deploy.doctor import doctor
from edgepress.deploy.lowerings.float_kernels import with_float_kernels

_WORDS = ((6,), "int32")
_ROWS = ((6, 5), "float32")


def _tied(x, tied: bool = True):
    table = layers.ReversibleEmbedding(20, 8, tie_weights=tied, logit_soft_cap=3.0)
    return table(layers.Dense(8, activation="tanh")(table(x)), reverse=True)


def _attention(x):
    x = layers.Embedding(20, 8)(x)
    return layers.MultiHeadAttention(2, 4, output_shape=7)(x, x)


def _inside(x):
    inner = [keras.Input((5,)), layers.Dense(9, activation="relu"), layers.BatchNormalization()]
    return layers.TimeDistributed(keras.Sequential(inner))(x)


NETWORKS: dict[str, tuple[tuple, Callable]] = {
    "dense": (_ROWS, lambda x: layers.Dense(4)(layers.Dense(7, activation="relu")(x))),
    "einsum": (_ROWS, lambda x: layers.EinsumDense("abc,cd->abd", (None, 7), bias_axes="d")(x)),
    "by place": (_ROWS, lambda x: layers.EinsumDense("abc,bcd->abd", (6, 7))(x)),
    "two axes": (_ROWS, lambda x: layers.EinsumDense("abc,bcd->ad", (7,), activation="relu")(x)),
    "attention": (_WORDS, _attention),
    "tied": (_WORDS, _tied),
    "untied": (_WORDS, lambda x: _tied(x, tied=False)),
    "inside": (_ROWS, _inside),
}
# Rounded activations are left out of the files: without them both compute the same.
MODES = {
    "int8": Int8QuantizationConfig(activation_quantizer=None),
    "int4": Int4QuantizationConfig(block_size=-1, activation_quantizer=None),
    "int4 in blocks": Int4QuantizationConfig(block_size=4, activation_quantizer=None),
}


@pytest.fixture(autouse=True)
def _little_to_collect() -> Iterator[None]:
    """Keras collects garbage for each layer that it rounds: seconds beside TensorFlow."""
    gc.freeze()
    yield
    gc.unfreeze()


def _network(kind: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    (shape, dtype), change = NETWORKS[kind]
    inputs = keras.Input(shape, name="x", dtype=dtype)
    model = keras.Model(inputs, change(inputs))
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 0.5, w.shape) for w in model.get_weights()])
    return model


def _samples(model: keras.Model) -> np.ndarray:
    rng, shape = np.random.default_rng(0), (8, *model.inputs[0].shape[1:])
    if model.inputs[0].dtype == "int32":
        return rng.integers(0, 20, shape)
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *((kind, mode) for kind in NETWORKS for mode in ("int8", "int4")),
        *((kind, "int4 in blocks") for kind in ("einsum", "tied", "untied")),
    ],
)
def test_kernels_in_floats_give_what_rounded_ones_give(kind: str, mode: str) -> None:
    model = _network(kind)
    before = inspect(model).params
    model.quantize(config=MODES[mode])
    plain, samples = with_float_kernels(model), _samples(model)
    assert {w.dtype for w in plain.weights} == {"float32"}
    np.testing.assert_allclose(plain(samples), model(samples), rtol=1e-4, atol=1e-5)
    assert inspect(model).params == before == plain.count_params()


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_adapters_become_part_of_the_kernel(mode: str) -> None:
    model = _network("dense")
    model.quantize(config=MODES[mode])
    layer = model.layers[1]
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.ones(layer.lora_kernel_b.shape))
    plain, samples = with_float_kernels(model), _samples(model)
    np.testing.assert_allclose(plain(samples), model(samples), rtol=1e-4, atol=1e-5)
    assert not plain.layers[1].lora_enabled


def test_files_of_a_rounded_model_are_right_and_rounded_once(tmp_path, worker) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((64,), name="x")
    wide = layers.Dense(48, activation="relu")(inputs)
    model = keras.Model(inputs, layers.Dense(4, name="last")(wide))
    model.quantize("int4")
    samples = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    data = (samples, model.predict(samples, verbose=0))
    result = export(
        model, tmp_path / "out", ("tflite", "onnx"), ("float32", "int8"), data, worker=worker
    )
    sizes = {(a.format, a.quantize): a.bytes for a in result.artifacts}
    assert len(sizes) == 4, (result.skipped, result.failed)
    assert sizes["onnx", "int8"] < sizes["onnx", "float32"]
    assert any("Keras's quantize()" in note for note in result.notes)


@pytest.mark.parametrize("mode", ["float8", "int8"])
def test_what_has_no_values_of_its_own_is_refused_by_name(mode: str, tmp_path, worker) -> None:
    """Keras leaves out the scale of a layer that `TimeDistributed` runs."""
    inputs = keras.Input((3, 4), name="x")
    model = keras.Model(inputs, layers.TimeDistributed(layers.Dense(2, name="inner"))(inputs))
    model.quantize(mode)
    try:
        reasons = [s.reason for s in export(model, tmp_path / "o", worker=worker).skipped]
    except InputError as error:
        reasons = [error.message]
    assert reasons
    assert all(f"layer 'inner' computes in {mode}" in reason for reason in reasons)
    assert any(mode in f.message and f.severity == "problem" for f in doctor(model).findings)
