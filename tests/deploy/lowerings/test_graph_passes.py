"""Graphs for integer kernels: masks that leave scores their levels, clips that clip one reader."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from variants import mostly_slow

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.deploy import export
from edgepress.deploy.exporters.tracing import SIGNATURE, trace_model

_STEPS = (12, 8)
_LOWER = np.tril(np.ones((12, 12), bool))


def _padded(x):
    kept = layers.Masking()(x)
    return layers.MultiHeadAttention(2, 8)(kept, kept)


def _by_hand(x):
    scores = ops.matmul(layers.Dense(8)(x), ops.transpose(layers.Dense(8)(x), [0, 2, 1]))
    scores = scores + (1 - _LOWER.astype("float32")) * -1e9
    return ops.matmul(ops.softmax(scores), layers.Dense(8)(x))


class Kept(layers.Layer):
    """A mask in a weight that isn't trained."""

    def build(self, shape):
        def masked(shape, dtype=None):
            return (1 - _LOWER.astype(dtype)) * -1e9

        self.mask = self.add_weight(shape=_LOWER.shape, initializer=masked, trainable=False)

    def call(self, scores):
        return scores + self.mask


def _scaled_behind(x):
    scores = ops.matmul(layers.Dense(8)(x), ops.transpose(x, [0, 2, 1]))
    scores = scores + (1 - _LOWER.astype("float32")) * -1e9
    return ops.matmul(ops.softmax(scores * 0.5 / 2.0), x)


def _in_a_weight(x):
    scores = ops.matmul(layers.Dense(8)(x), ops.transpose(x, [0, 2, 1]))
    return ops.matmul(ops.softmax(Kept()(scores)), x)


MASKS: dict[str, Callable] = {
    "causal": lambda x: layers.MultiHeadAttention(2, 8)(x, x, use_causal_mask=True),
    "grouped": lambda x: layers.GroupQueryAttention(8, 4, 2)(x, x, use_causal_mask=True),
    "attention": lambda x: layers.Attention()([layers.Dense(8)(x), x], use_causal_mask=True),
    "padded": _padded,
    "by hand": _by_hand,
    "softmax": lambda x: layers.Softmax()(layers.Dense(12)(x), mask=_LOWER[None]),
    "scaled behind": _scaled_behind,
    "in a weight": _in_a_weight,
    "infinite": lambda x: ops.softmax(ops.where(_LOWER, layers.Dense(12)(x), -np.inf)),
}
CLIPS: dict[str, Callable] = {
    "soft threshold": lambda x: x - ops.clip(x, -0.5, 0.5),
    "celu": lambda x: ops.celu(x, 0.7),
    "one": lambda x: x + ops.hard_tanh(x),
    "threshold": lambda x: x + ops.where(x > 0.2, x, 0.0),
    "behind a move": lambda x: (
        x - ops.reshape(ops.clip(ops.reshape(x, (-1, 96)), -0.3, 0.3), (-1, 12, 8))
    ),
    "of two": lambda x: x * ops.maximum(x, ops.roll(x, 1, 1)),
}


def _model(change: Callable, shape: tuple[int, ...] = _STEPS) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape, name="inputs")
    x = layers.Dense(8)(inputs)
    return keras.Model(inputs, layers.Dense(4)(layers.Flatten()(change(x))))


def _samples(count: int = 32) -> np.ndarray:
    samples = np.random.default_rng(0).normal(size=(count, *_STEPS)).astype(np.float32)
    samples[:, 9:] = 0
    return samples


def _constants(folder) -> list[np.ndarray]:
    """What constants and weights a graph reads."""
    loaded = tf.saved_model.load(str(folder))
    nodes = (
        convert_variables_to_constants_v2(loaded.signatures[SIGNATURE]).graph.as_graph_def().node
    )
    read = {name.split(":")[0] for node in nodes for name in node.input}
    values = [
        tf.make_ndarray(n.attr["value"].tensor) for n in nodes if n.name in read and n.op == "Const"
    ]
    return [value for value in values if value.dtype == np.float32]


@pytest.mark.parametrize("kind", [*MASKS, *CLIPS])
def test_a_graph_for_integers_gives_the_same(kind: str, tmp_path) -> None:
    model, samples = _model((MASKS | CLIPS)[kind]), _samples()
    graph = trace_model(model, tmp_path / "graph", destination="int8")
    function = tf.saved_model.load(str(graph.folder)).signatures[SIGNATURE]
    (got,) = function(inputs=tf.constant(samples)).values()
    np.testing.assert_allclose(got, model.predict(samples, verbose=0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["attention", "softmax", "infinite"])
def test_a_selection_by_a_constant_is_a_sum_in_16_bits(kind: str, tmp_path) -> None:
    """TensorFlow's quantiser has no 16 bits for SELECT_V2, and SELECT copied other scales."""
    model, samples = _model(MASKS[kind]), _samples()
    graph = trace_model(model, tmp_path / "graph", destination="int16")
    loaded = tf.saved_model.load(str(graph.folder))
    frozen = convert_variables_to_constants_v2(loaded.signatures[SIGNATURE]).graph
    read = {tensor.op.type for op in frozen.get_operations() for tensor in op.inputs}
    assert read.isdisjoint({"Select", "SelectV2"})
    (got,) = loaded.signatures[SIGNATURE](inputs=tf.constant(samples)).values()
    np.testing.assert_allclose(got, model.predict(samples, verbose=0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", mostly_slow(["attention", "softmax"], "attention"))
def test_16_bits_keep_masked_attention(kind: str, tmp_path, worker) -> None:
    """The noise of an attention was 0.95, and there was no file of a softmax with a mask."""
    assert _noise(_model(MASKS[kind]), tmp_path, worker, "int16x8") < 0.05


@pytest.mark.parametrize("kind", MASKS)
def test_masks_are_bounded(kind: str, tmp_path) -> None:
    graph = trace_model(_model(MASKS[kind]), tmp_path / "graph", destination="int8")
    assert 1 < max(np.abs(value).max(initial=0) for value in _constants(graph.folder)) < 100


def _noise(model: keras.Model, tmp_path, worker, precision: str = "int8") -> float:
    samples = _samples(96)
    judged = (samples, model.predict(samples, verbose=0))
    data = {"train": judged, "val": judged}  # what passes a range isn't rounded but cut off
    result = export(model, tmp_path / "out", ("tflite",), (precision,), data, worker=worker)
    [artifact] = result.artifacts
    return artifact.verified.outputs[0].error


@pytest.mark.parametrize("kind", ["grouped", "by hand"])
def test_int8_keeps_masked_attention(kind: str, tmp_path, worker) -> None:
    """All scores were one level of int8, and attention uniform (noise 0.24)."""
    assert _noise(_model(MASKS[kind]), tmp_path, worker) < 0.08


@pytest.mark.parametrize("kind", ["soft threshold", "threshold", "behind a move", "of two"])
def test_int8_clips_one_reader_alone(kind: str, tmp_path, worker) -> None:
    """The other reader was given clipped values (noise 1)."""
    assert _noise(_model(CLIPS[kind]), tmp_path, worker) < 0.1


def test_int8_clips_no_output(tmp_path, worker) -> None:
    """An output that a clip reads, too, was given clipped values (noise 0.8)."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(_STEPS, name="inputs")
    x = layers.Dense(8, name="raw")(inputs)
    model = keras.Model(inputs, [x, layers.Dense(4, name="of_clip")(ops.clip(x, -0.2, 0.2))])
    assert _noise(model, tmp_path, worker) < 0.1


def _fed_mask(kind: str) -> tuple[keras.Model, dict[str, np.ndarray]]:
    """Attention whose mask of 0 and a huge number is an input, and samples for it."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(_STEPS, name="inputs")
    mask = keras.Input((1, 12) if kind == "row" else (12,), name="mask")
    scores = ops.matmul(layers.Dense(8)(inputs), ops.transpose(inputs, [0, 2, 1])) / 4.0
    scores = {
        "row": lambda: scores + mask,
        "steps": lambda: scores + mask[:, None],
        "less": lambda: scores - layers.Reshape((1, 12))(mask),
    }[kind]()
    model = keras.Model([inputs, mask], layers.Dense(4)(ops.matmul(ops.softmax(scores), inputs)))
    hidden = np.arange(12) >= np.random.default_rng(0).integers(3, 13, (96, 1))
    hidden = hidden * np.float32(1e9 if kind == "less" else -1e9)
    return model, {"inputs": _samples(96), "mask": hidden[:, None] if kind == "row" else hidden}


@pytest.mark.parametrize("format", ["tflite", "onnx"])
@pytest.mark.parametrize("kind", ["row", "steps"])
def test_integers_take_a_mask_that_is_an_input(kind, format, tmp_path, worker) -> None:
    """A mask of 0 and -1e9 that is fed left one level to the scores it was added to."""
    model, samples = _fed_mask(kind)
    data = (samples, model.predict(samples, verbose=0))
    precisions = {"tflite": ("int8", "int16x8"), "onnx": ("int8",)}[format]
    result = export(model, tmp_path / "out", (format,), precisions, data, worker=worker)
    assert len(result.artifacts) == len(precisions), (result.skipped, result.failed)
    assert all(a.verified.outputs[0].error < 0.1 for a in result.artifacts)


@pytest.mark.parametrize(("kind", "limits"), [("steps", (-20, np.inf)), ("less", (-np.inf, 20))])
def test_limits_of_a_mask_that_is_an_input(kind: str, limits, tmp_path) -> None:
    model, _ = _fed_mask(kind)
    graph = trace_model(model, tmp_path / "graph", destination="int8")
    assert graph.limits == {"mask": limits}
    assert trace_model(model, tmp_path / "floats").limits == {}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("kind", ["relu", "relu6", "maximum"])
def test_a_relu_behind_a_product_of_two_activations_stays(kind, turned, tmp_path, worker) -> None:
    """The converter made one operator of both, and lost the ReLU."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,), name="inputs")
    x = layers.Dense(4)(inputs)
    product = ops.matmul(ops.transpose(x), inputs) if turned else ops.matmul(x, inputs)
    clip = {"maximum": lambda v: ops.maximum(v, 0.0)}.get(kind) or getattr(ops, kind)
    model = keras.Model(inputs, clip(product))
    graph = trace_model(model, tmp_path / "graph", batch=4)
    path, samples = tmp_path / "x.tflite", np.random.default_rng(0).normal(size=(4, 4))
    request = {"source": str(graph.folder), "out": str(path), "precision": "float32"}
    worker.ask("tflite", request | {"io": "float", "calibration": None, "batch": 4})
    samples = samples.astype(np.float32)
    with Runtime(path) as runtime:
        (got,) = runtime.predict({"inputs": samples}).values()
    np.testing.assert_allclose(got, model(samples), atol=1e-5)


@pytest.mark.parametrize(
    ("shift", "axis"), [(1, 1), (-2, 1), (7, -1), (0, 1), ((1, -1), (1, 2)), ([2, 3], [1, 1])]
)
def test_rolls_are_slices_that_change_places(shift, axis, tmp_path) -> None:
    """TFLite has no roll, which shifted windows are made by."""
    inputs = keras.Input((4, 5, 2), name="inputs")
    model = keras.Model(inputs, {"rolled": layers.Identity()(ops.roll(inputs, shift, axis))})
    folder = tmp_path / "graph"
    trace_model(model, folder)
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype(np.float32)
    assert "Roll" not in _kinds_read(folder)
    run = tf.saved_model.load(str(folder)).signatures[SIGNATURE]
    (rolled,) = run(inputs=tf.constant(x)).values()
    np.testing.assert_array_equal(rolled, np.roll(x, shift, axis))


def _kinds_read(folder) -> set[str]:
    """Operations of a traced graph that its outputs depend on."""
    run = tf.saved_model.load(str(folder)).signatures[SIGNATURE]
    return {op.type for op in convert_variables_to_constants_v2(run).graph.get_operations()}


def test_rolls_along_free_axes_stay(tmp_path) -> None:
    inputs = keras.Input((None, 2), name="inputs")
    trace_model(keras.Model(inputs, ops.roll(inputs, 1, 1)), tmp_path / "graph")
    assert "Roll" in _kinds_read(tmp_path / "graph")


def test_inputs_may_be_called_like_words_of_python(tmp_path) -> None:
    """The graph's function couldn't have a parameter called 'in'."""
    given = [keras.Input((2,), name=name) for name in ("in", "class", "in_")]
    graph = trace_model(keras.Model(given, layers.Add()(given)), tmp_path / "graph")
    assert [spec.name for spec in graph.inputs] == ["in_", "class_", "in__1"]


def test_indices_and_their_codes_are_no_floats_on_their_way(tmp_path, worker) -> None:
    """On 256 levels 3 became 2.98, which is 2 as an index, and 0 in a code 0.5 (noise 1.5)."""
    keras.utils.set_random_seed(0)
    codes = keras.Input((1,), dtype="int32", name="codes")
    x = layers.CategoryEncoding(12, "one_hot")(codes)
    x = layers.Concatenate()([x, layers.Flatten()(layers.Embedding(12, 4)(codes))])
    model = keras.Model(codes, layers.Dense(4)(x))
    samples = np.random.default_rng(0).integers(0, 12, (200, 1)).astype(np.int32)
    data = (samples, model.predict(samples, verbose=0))
    result = export(model, tmp_path / "out", ("tflite",), ("int8", "int16x8"), data, worker=worker)
    eight, sixteen = (file.verified.max_abs_error for file in result)
    assert sixteen < 0.01
    assert eight < 0.02
