"""Training for int8: folding changes nothing, zeros stay, the file computes what was trained."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.compress.data import open_data
from edgepress.compress.errors import InputError
from edgepress.compress.models.rebuilding.inline_submodels import unnested
from edgepress.deploy.exporting.export import export
from edgepress.deploy.quantize.fake_quant import divided, on_grid
from edgepress.deploy.quantize.folding import fold_batch_norms
from edgepress.deploy.quantize.qat import (
    quantisation_aware,
    strip_quantisation,
    train_quantised,
)


def network(seed=0):
    keras.utils.set_random_seed(seed)
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(8, 3, use_bias=False, padding="same", name="first")(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, padding="same", name="second")(x)
    y = layers.ReLU()(layers.BatchNormalization(scale=False)(y))
    x = layers.ReLU()(layers.Add()([x, layers.BatchNormalization()(layers.Conv2D(8, 1)(y))]))
    x = layers.Flatten()(layers.MaxPooling2D(3)(x))
    model = keras.Model(image, layers.Dense(4, activation="softmax", name="class")(x))
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 2, w.shape) for w in layer.get_weights()])
    return model


def data(model, samples=256):
    x = np.random.default_rng(1).normal(size=(samples, 12, 12, 3)).astype("float32")
    y = np.asarray(model(x)).argmax(-1)
    return {"train": (x, y), "val": (x, y)}


@pytest.mark.parametrize("seed", range(3))
def test_folding_changes_nothing(seed):
    model = network(seed)
    folded = fold_batch_norms(model)
    x = np.random.default_rng(0).normal(size=(6, 12, 12, 3)).astype("float32")
    np.testing.assert_allclose(folded(x), model(x), atol=2e-5)
    assert not [x for x in folded.layers if isinstance(x, layers.BatchNormalization)]


def test_a_normalisation_that_can_not_be_folded_stays():
    image = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3)(image)
    model = keras.Model(image, layers.Add()([x, layers.BatchNormalization()(x)]))
    folded = fold_batch_norms(model)
    x = np.ones((2, 6, 6, 3), "float32")
    np.testing.assert_allclose(folded(x), model(x), atol=1e-6)
    assert [x for x in folded.layers if isinstance(x, layers.BatchNormalization)]


@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_the_grid_has_255_levels_and_rounding_again_changes_nothing(seed, scale):
    kernel = (np.random.default_rng(seed).normal(size=(3, 3, 2, 5)) * scale).astype("float32")
    once = np.asarray(on_grid(kernel, (-1,)))
    np.testing.assert_allclose(on_grid(once, (-1,)), once, rtol=1e-5)
    step = np.abs(kernel).max((0, 1, 2)) / 127
    assert (np.abs(once - kernel) <= step * 0.5001).all()
    levels = once / step
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)


@pytest.mark.parametrize("compiled", [False, True])
def test_levels_are_as_far_apart_as_in_the_file(compiled):
    """A compiled graph multiplies by 1/127 in single precision, which is off by a bit at times."""
    widths = np.random.default_rng(0).uniform(0, 3, 4096).astype("float32")
    steps = tf.function(lambda w: divided(w, 127.0))(widths) if compiled else divided(widths, 127.0)
    np.testing.assert_array_equal(steps, (widths.astype("float64") / 127).astype("float32"))


def test_the_file_computes_what_was_trained(tmp_path, worker):
    """Within one quantum of the output on 1,000 samples, before the softmax spreads it."""
    model = network()
    head = keras.Model(model.inputs, layers.Dense(4, name="logits")(model.layers[-2].output))
    samples = data(model, 1000)
    dataset = open_data(samples, head)
    trained = train_quantised(head, dataset, 1, seed=3)
    result = export(trained, tmp_path / "out", ("tflite",), ("int8",), samples, worker=worker)
    [artifact] = result
    x = samples["val"][0]
    with Runtime(artifact.path) as runtime:
        got = next(iter(runtime.predict({"image": x}).values()))
    want = np.asarray(trained(x))
    quantum = float(artifact.outputs[0].scale or trained.layers[-1].scale)
    off = np.abs(got - want) / quantum
    assert off.max() < 1.01
    assert np.mean(off < 0.01) > 0.99


@pytest.mark.parametrize(
    "pooling",
    [
        pytest.param(lambda: layers.AveragePooling2D(3), marks=pytest.mark.slow),
        lambda: layers.GlobalAveragePooling2D(),
    ],
)
def test_means_and_products_are_counted_as_the_kernels_count(tmp_path, worker, pooling):
    keras.utils.set_random_seed(1)
    image = keras.Input((12, 12, 3), name="image")
    x = layers.SeparableConv2D(8, 3, activation="relu", name="split")(image)
    gate = layers.Conv2D(8, 1, activation="sigmoid")(x)
    x = layers.Flatten()(pooling()(layers.Multiply()([x, gate])))
    model = keras.Model(image, layers.Dense(4)(x))
    samples = data(model)
    trained = train_quantised(model, open_data(samples, model), 1)
    [artifact] = export(trained, tmp_path / "out", ("tflite",), ("int8",), samples, worker=worker)
    x = samples["val"][0]
    with Runtime(artifact.path) as runtime:
        got = next(iter(runtime.predict({"image": x}).values()))
    off = np.abs(got - np.asarray(trained(x))) / float(trained.layers[-1].scale)
    assert off.max() < 1.01
    assert np.mean(off < 0.01) > 0.9


def _is_within_a_quantum(model, tmp_path, worker):
    """Export a model that was trained for int8 to a file of bytes alone, and compare the two."""
    shape = (128, *model.inputs[0].shape[1:])
    samples = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    data = (samples, model.predict(samples, verbose=0))
    [artifact] = export(
        model, tmp_path / "out", ("tflite",), ("int8",), data, "int8", qat_epochs=1, worker=worker
    )
    quantum = artifact.outputs[0].scale
    assert artifact.verified.max_abs_error <= 1.01 * quantum
    assert artifact.verified.mean_abs_error < 0.1 * quantum


def test_transposed_convolutions_are_counted_as_the_kernels_count(tmp_path, worker):
    """With a normalisation and an activation of their own, in a file of bytes alone."""
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 3), name="image")
    x = layers.Conv2D(6, 3, 2, padding="same", activation="relu")(image)
    x = layers.Conv2DTranspose(5, 3, 2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    model = keras.Model(image, layers.Conv2DTranspose(2, 2, 2, activation="relu")(x))
    _is_within_a_quantum(model, tmp_path, worker)


def test_dense_layers_of_steps_are_trained():
    """As wrappers and einsums, which attention is made of, write them."""
    keras.utils.set_random_seed(0)
    series = keras.Input((5, 4), name="series")
    x = layers.TimeDistributed(layers.Dense(6, activation="relu"))(series)
    x = layers.EinsumDense("abc,cd->abd", (5, 6), bias_axes="d")(x)
    model = keras.Model(series, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
    samples = np.random.default_rng(0).normal(size=(64, 5, 4)).astype(np.float32)
    aware = quantisation_aware(model, {"series": samples})
    kinds = [type(layer).__name__ for layer in aware.layers]
    assert kinds.count("QuantisedDense") == 3
    near = model.predict(samples, verbose=0)
    assert np.abs(aware.predict(samples, verbose=0) - near).max() < 0.1 * np.abs(near).max()


def test_training_keeps_zeros_clusters_and_the_source():
    model = network()
    pruned = model.get_layer("first").get_weights()[0]
    pruned[np.abs(pruned) < np.median(np.abs(pruned))] = 0
    model.get_layer("first").set_weights([pruned])
    kernel, bias = model.get_layer("class").get_weights()
    centres = np.linspace(kernel.min(), kernel.max(), 8)
    clustered = centres[np.abs(kernel[..., None] - centres).argmin(-1)].astype("float32")
    model.get_layer("class").set_weights([clustered, bias])
    before = [w.copy() for w in model.get_weights()]
    trained = train_quantised(model, open_data(data(model), model), 1)
    plain = strip_quantisation(trained)
    assert ((plain.get_layer("first").get_weights()[0] == 0) | (pruned != 0)).all()
    kernel = plain.get_layer("class").get_weights()[0]
    assert not np.array_equal(kernel, clustered)
    assert max(len(np.unique(column)) for column in kernel.T) <= 8
    assert {type(x).__module__.split(".")[0] for x in plain.layers} == {"keras"}
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_a_layer_without_a_counterpart_is_named():
    series = keras.Input((6, 4), name="series")
    model = keras.Model(series, layers.Dense(2)(layers.LSTM(3, name="memory")(series)))
    with pytest.raises(InputError, match="memory"):
        quantisation_aware(model, {"series": np.zeros((4, 6, 4), "float32")})


def test_training_is_part_of_an_export(tmp_path, worker):
    model = network()
    result = export(model, tmp_path / "out", ("tflite", "onnx"), ("float32", "int8"), data(model),
                    "int8", qat_epochs=1, worker=worker)  # fmt: skip
    assert result.passed
    files = {(a.format, a.quantize): a for a in result}
    assert [(s.format, s.quantize) for s in result.skipped] == [("onnx", "int8")]
    assert files["onnx", "float32"].source == files["tflite", "float32"].source
    assert files["onnx", "float32"].source != files["tflite", "int8"].source
    assert files["tflite", "int8"].inputs[0].dtype == "int8"


@pytest.mark.slow
def test_int8_files_that_the_training_is_not_for_are_named(tmp_path, worker, monkeypatch):
    name = "edgepress.deploy.exporting.export.trained_for_int8"
    monkeypatch.setattr(name, lambda model, *_: (model, ()))
    model = network()
    formats, options = ("tflite", "onnx"), {"qat_epochs": 1, "worker": worker}
    result = export(model, tmp_path / "out", formats, ("int8",), data(model), **options)
    (note,) = [note for note in result.notes if "--qat-epochs trains for c and tflite" in note]
    assert note.startswith("model_int8.onnx")


def test_training_for_nothing_is_refused(tmp_path):
    model = network()
    with pytest.raises(InputError, match="--qat-epochs has no effect"):
        export(model, tmp_path / "out", ("onnx",), ("int8",), data(model), qat_epochs=1)


@pytest.mark.slow
def test_silu_is_counted_as_the_kernels_count(tmp_path, worker):
    """A file holds it as a logistic function of 256 levels and a product."""
    keras.utils.set_random_seed(4)
    image = keras.Input((10, 10, 3), name="image")
    x = layers.Conv2D(8, 3, activation="silu")(image)
    x = layers.Activation("silu")(layers.BatchNormalization()(layers.Conv2D(8, 3)(x)))
    gate = layers.Conv2D(8, 1, activation="sigmoid")(
        layers.GlobalAveragePooling2D(keepdims=True)(x)
    )
    x = layers.Multiply()([x, gate])
    model = keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))
    _is_within_a_quantum(model, tmp_path, worker)


@pytest.mark.parametrize(("dtype", "named"), [("int32", "input 'x'"), ("float32", "'absolute")])
def test_what_can_not_be_trained_for_int8_is_named(dtype, named):
    x = keras.Input((4,), dtype=dtype, name="x")
    inner = layers.Embedding(5, 2)(x) if dtype == "int32" else keras.ops.abs(x)
    model = keras.Model(x, layers.Dense(2)(inner))
    with pytest.raises(InputError, match=named):
        quantisation_aware(model, {"x": np.zeros((4, 4), dtype)})


def test_a_product_with_a_number_is_trained():
    """Keras takes it for a sparse tensor."""
    x = keras.Input((4, 4, 3), name="x")
    model = keras.Model(x, layers.Conv2D(2, 3)(layers.ReLU()(x) * 0.5))
    samples = np.random.default_rng(0).normal(size=(8, 4, 4, 3)).astype(np.float32)
    aware = quantisation_aware(model, {"x": samples})
    near = model.predict(samples, verbose=0)
    assert np.abs(aware.predict(samples, verbose=0) - near).max() < 0.1 * np.abs(near).max()


@pytest.mark.parametrize("mode", [None, False])
def test_models_inside_are_put_into_the_graph(mode):
    """As in transfer learning, called twice here."""
    keras.utils.set_random_seed(5)
    image = keras.Input((8, 8, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, name="conv")(image))
    base = keras.Model(image, keras.Sequential([layers.ReLU(), layers.Conv2D(4, 1)])(x), name="b")
    one, two = keras.Input((8, 8, 3), name="one"), keras.Input((8, 8, 3), name="two")
    both = layers.Concatenate()([base(one, training=mode), base(two, training=mode)])
    model = keras.Model([one, two], layers.Dense(2)(layers.GlobalAveragePooling2D()(both)))
    for weight in base.weights:
        weight.assign(np.random.default_rng(1).uniform(0.5, 1.5, weight.shape))
    samples = [np.random.default_rng(s).normal(size=(4, 8, 8, 3)) for s in range(2)]
    flat = unnested(model)
    assert not any(isinstance(layer, keras.Model) for layer in flat.layers)
    assert {"b_conv"} <= {layer.name for layer in flat.layers}
    assert flat.count_params() == model.count_params()
    for training in (False, True):
        want = model(samples, training=training)
        np.testing.assert_array_equal(flat(samples, training=training), want)


class Nameless(layers.Layer):
    """Its settings lack the name, as those of many layers of users do."""

    def __init__(self, factor=2.0, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return {"factor": self.factor}


def test_copies_of_a_users_own_layers_keep_their_names():
    image = keras.Input((8, 8, 3))
    inner = keras.Sequential([keras.Input((8, 8, 3)), Nameless(name="twice")], name="inner")
    flat = unnested(keras.Model(image, Nameless(3.0, name="thrice")(inner(image))))
    assert [layer.name for layer in flat.layers[1:]] == ["inner_twice", "thrice"]
    np.testing.assert_array_equal(flat(np.ones((1, 8, 8, 3))), np.full((1, 8, 8, 3), 6.0))


@pytest.mark.slow
def test_a_base_model_is_trained_for_int8(tmp_path, worker):
    keras.utils.set_random_seed(5)
    base = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(6, 3), layers.ReLU()])
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(base(image))))
    samples = np.random.default_rng(0).normal(size=(64, 8, 8, 3)).astype(np.float32)
    data = (samples, model.predict(samples, verbose=0))
    [artifact] = export(
        model, tmp_path / "out", ("tflite",), ("int8",), data, "int8", qat_epochs=1, worker=worker
    )
    assert artifact.verified.max_abs_error <= 1.01 * artifact.outputs[0].scale
