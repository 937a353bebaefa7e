"""Recurrent layers in ONNX as the operators that they are, and layers with dropout anywhere."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from variants import mostly_slow

from edgepress.deploy import export
from edgepress.deploy.lowerings.recurrent import unroll

_STEPS = (7, 5)

OPERATORS: dict[str, tuple[str, Callable]] = {
    "gru": ("GRU", lambda x: layers.GRU(6)(layers.GRU(4, return_sequences=True)(x))),
    "reset before": ("GRU", lambda x: layers.GRU(6, reset_after=False)(x)),
    "no bias": ("GRU", lambda x: layers.GRU(6, use_bias=False)(x)),
    "backwards": ("GRU", lambda x: layers.GRU(6, go_backwards=True, return_sequences=True)(x)),
    "both ways": ("GRU", lambda x: layers.Bidirectional(layers.GRU(6, return_sequences=True))(x)),
    "given state": ("GRU", lambda x: layers.GRU(6)(x, layers.Dense(6)(layers.Flatten()(x)))),
    "states": ("GRU", lambda x: layers.Concatenate()(layers.GRU(6, return_state=True)(x))),
    "simple": ("RNN", lambda x: layers.SimpleRNN(6, return_sequences=True)(x)),
    "simple relu": ("RNN", lambda x: layers.SimpleRNN(6, activation="relu")(x)),
    "masked": ("Loop", lambda x: layers.GRU(6)(layers.Masking()(x))),
    "other gates": ("Loop", lambda x: layers.GRU(6, recurrent_activation="hard_sigmoid")(x)),
}
DROPOUT: dict[str, tuple[tuple[int, ...], Callable]] = {
    "lstm": (_STEPS, lambda x: layers.LSTM(4, dropout=0.2, recurrent_dropout=0.2)(x)),
    "gru": (_STEPS, lambda x: layers.GRU(4, recurrent_dropout=0.2)(x)),
    "simple": (_STEPS, lambda x: layers.SimpleRNN(4, dropout=0.2, recurrent_dropout=0.2)(x)),
    "both ways": (_STEPS, lambda x: layers.Bidirectional(layers.LSTM(4, dropout=0.2))(x)),
    "images": ((3, 6, 6, 2), lambda x: layers.ConvLSTM2D(3, 3, recurrent_dropout=0.2)(x)),
    "stacked": (
        _STEPS,
        lambda x: layers.RNN([layers.LSTMCell(4, dropout=0.2), layers.GRUCell(3)])(x),
    ),
}


def _model(change: Callable, shape: tuple[int, ...] = _STEPS) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape, name="inputs")
    model = keras.Model(inputs, layers.Dense(3)(change(inputs)))
    for layer in model.layers:  # biases of zero would hide their order
        rng = np.random.default_rng(0)
        layer.set_weights([rng.uniform(-0.5, 0.5, w.shape) for w in layer.get_weights()])
    return model


@pytest.mark.parametrize("kind", mostly_slow(OPERATORS, "gru", "both ways", "masked"))
def test_recurrent_layers_are_their_operator_in_onnx(kind: str, tmp_path, worker) -> None:
    operator, change = OPERATORS[kind]
    result = export(_model(change), tmp_path / "out", ("onnx",), ("float32",), worker=worker)
    [artifact] = result.artifacts
    assert artifact.verified.max_abs_error < 1e-5
    kinds = {node.op_type for node in onnx.load(artifact.path).graph.node}
    assert operator in kinds
    assert (operator == "Loop") == ("Loop" in kinds)


def test_a_dynamic_file_larger_than_float32_is_refused_with_both_sizes(tmp_path, worker) -> None:
    model = _model(OPERATORS["gru"][1])
    result = export(model, tmp_path / "out", ("onnx",), ("float32", "dynamic"), worker=worker)
    assert [artifact.quantize for artifact in result.artifacts] == ["float32"]
    [left_out] = result.skipped
    assert f"{result.artifacts[0].bytes:,}" in left_out.reason


@pytest.mark.parametrize("kind", mostly_slow(DROPOUT, "lstm"))
def test_dropout_of_recurrent_layers_is_left_out(kind: str, tmp_path, worker) -> None:
    shape, change = DROPOUT[kind]
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape, name="inputs")
    model = keras.Model(inputs, layers.Dense(3)(change(inputs)))
    result = export(model, tmp_path / "out", ("tflite", "onnx"), ("float32",), worker=worker)
    assert {a.format for a in result.artifacts} == {"tflite", "onnx"}, result.skipped
    assert all(a.verified.max_abs_error < 1e-5 for a in result.artifacts)


def test_outputs_keep_their_order_whatever_their_names(tmp_path, worker) -> None:
    inputs = keras.Input(_STEPS, name="inputs")
    x = layers.LSTM(6)(inputs)
    names = ("score", "class", "b")
    model = keras.Model(inputs, [layers.Dense(i + 2, name=n)(x) for i, n in enumerate(names)])
    result = export(model, tmp_path / "out", ("onnx",), ("float32",), worker=worker)
    graph = onnx.load(result.artifacts[0].path).graph
    assert [output.name for output in graph.output] == list(names)


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("way", ["bilinear", "nearest"])
def test_resizing_by_a_factor_that_32_bits_round_down(way: str, opset: int, tmp_path, worker):
    """ONNX's shape inference made 6 pixels of 5 times 1.4."""
    inputs = keras.Input((5, 20, 3), name="inputs")
    x = layers.Resizing(7, 28, interpolation=way)(layers.Conv2D(4, 3, padding="same")(inputs))
    model = keras.Model(inputs, layers.Conv2D(3, 1)(x))
    result = export(model, tmp_path / "out", ("onnx",), ("float32",), worker=worker, opset=opset)
    [artifact] = result.artifacts
    assert artifact.verified.max_abs_error < 1e-4


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_unrolling_keeps_masked_steps_of_both_directions(kind):
    """Keras gives zeros for the wrong steps where a backwards layer is unrolled."""
    keras.utils.set_random_seed(0)
    series = keras.Input((6, 3))
    both = layers.Bidirectional(kind(4, return_sequences=True))(layers.Masking()(series))
    model = keras.Model(series, both)
    x = np.random.default_rng(0).normal(size=(5, 6, 3)).astype("float32")
    for sample, steps in zip(x, (6, 1, 3, 4, 2), strict=True):
        sample[steps:] = 0
    np.testing.assert_allclose(unroll(model)(x), model(x), atol=1e-6)


def test_16_bits_of_an_lstm_behind_an_embedding(tmp_path, worker) -> None:
    """The gate that nothing reads in the first step stayed in floats, and LiteRT aborted."""
    pytest.importorskip("ai_edge_quantizer")
    keras.utils.set_random_seed(0)
    tokens = keras.Input((4,), dtype="int32", name="tokens")
    model = keras.Model(tokens, layers.Dense(3)(layers.LSTM(4)(layers.Embedding(9, 6)(tokens))))
    x = np.random.default_rng(0).integers(0, 9, (64, 4)).astype(np.int32)
    outputs = np.asarray(model(x))
    result = export(model, tmp_path / "out", ("tflite",), ("int16x8",), (x, outputs), worker=worker)
    assert result.passed, (result.skipped, result.failed)
    assert result.artifacts[0].verified.mean_abs_error < 0.02 * outputs.std()
