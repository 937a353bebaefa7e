"""Roads that other tools take and that fail, some without a word: none of them gets through."""

from __future__ import annotations

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from close_decisions import decided_by_a_hair
from keras import layers
from real_files import also_real
from variants import mostly_slow

from edgepress.benchmarks.tflite.graph import read_graph
from edgepress.compress.errors import DeviceError, EdgepressError
from edgepress.compress.models import load
from edgepress.deploy.exporters.tflite.conversion import check_file
from edgepress.deploy.exporters.tracing import trace_model
from edgepress.deploy.exporting.export import export
from edgepress.deploy.lowerings.recurrent import loops, unroll
from edgepress.deploy.verification.verifying import verify


def conv():
    keras.utils.set_random_seed(3)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, activation="relu")(image)
    return keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def test_a_file_whose_weights_were_lost_is_refused(tmp_path):
    model = conv()
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(
        tf.TensorSpec((1, 8, 8, 3))
    )
    path = tmp_path / "lost.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([function], model).convert())
    try:
        agreement = verify(model, path)
    except EdgepressError:
        agreement = None
    assert agreement is None or not agreement.passed


def test_a_file_with_variables_outside_is_refused(tmp_path):
    """A graph that assigns a variable keeps it as a resource."""

    class Counter(tf.Module):
        def __init__(self):
            self.count = tf.Variable(tf.zeros((1, 3)))

        @tf.function(input_signature=[tf.TensorSpec((1, 3))])
        def __call__(self, x):
            return self.count.assign_add(x)

    module = Counter()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.__call__)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "m"))
    converter.experimental_enable_resource_variables = True
    path = tmp_path / "m.tflite"
    path.write_bytes(converter.convert())
    with pytest.raises(ValueError, match="outside the file"):
        check_file(path)


def test_quantising_a_loop_crashes_the_child_not_us(tmp_path, worker):
    series = keras.Input((6, 3), name="series")
    model = keras.Model(series, layers.LSTM(4)(series))
    traced = trace_model(model, tmp_path / "loop", batch=1)
    samples = tmp_path / "samples.npz"
    np.savez(samples, series=np.random.default_rng(0).normal(size=(8, 6, 3)).astype("float32"))
    request = {
        "source": str(traced.folder), "out": str(tmp_path / "x.tflite"), "precision": "int8",
        "io": "float", "calibration": str(samples), "batch": 1,
    }  # fmt: skip
    with pytest.raises(DeviceError) as caught:
        worker.ask("tflite", request)
    assert "SIGSEGV" in caught.value.message
    assert str(worker.kept_log) in caught.value.hint
    worker.kept_log.unlink()
    worker.ask("tflite", {**request, "precision": "float32"})


def test_a_normalisation_of_a_single_pixel_exports_to_onnx(tmp_path, worker):
    """tf2onnx drops the transposes that it moves through the normalisation's broadcasts."""
    keras.utils.set_random_seed(3)
    image = keras.Input((3, 3, 4), name="image")
    x = layers.LayerNormalization()(layers.Conv2D(8, 2, strides=2)(image))
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))
    result = export(model, tmp_path / "out", formats=["onnx"], worker=worker)
    assert (result.failed, result.skipped) == ((), ())
    assert verify(model, result.artifacts[0].path).passed


def test_a_branch_over_a_single_pixel_is_as_wide_as_its_layers(tmp_path, worker):
    """Where a branch counts a millionth, as in a new ConvNeXt, what is wrong in it doesn't show."""
    image = keras.Input((4, 4, 4), name="image")
    x = layers.Normalization(mean=[0.1] * 4, variance=[1.0] * 4)(image)
    for _ in range(2):
        x = layers.Conv2D(8, 2, strides=2)(x)
        normal = layers.LayerNormalization()(layers.DepthwiseConv2D(3, padding="same")(x))
        wide = layers.Dense(16, activation="gelu")(normal)
        x = layers.Add()([x, layers.Rescaling(1e-6)(layers.Dense(8)(wide))])
    model = keras.Model(image, layers.GlobalAveragePooling2D()(x))
    result = export(model, tmp_path / "out", formats=["onnx"], worker=worker)
    graph = onnx.shape_inference.infer_shapes(onnx.load(result.artifacts[0].path)).graph
    sizes = [
        np.prod([size.dim_value or 1 for size in value.type.tensor_type.shape.dim])
        for value in graph.value_info
    ]
    assert max(sizes) == 2 * 2 * 16


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
@pytest.mark.parametrize("both_ways", [False, True])
def test_unrolling_changes_nothing(kind, both_ways):
    series = keras.Input((6, 3))
    layer = kind(4, return_sequences=True)
    model = keras.Model(series, (layers.Bidirectional(layer) if both_ways else layer)(series))
    flat = unroll(model)
    x = np.random.default_rng(0).normal(size=(5, 6, 3)).astype("float32")
    np.testing.assert_allclose(flat(x), model(x), atol=1e-6)
    assert loops(model)
    assert not loops(flat)


def test_a_free_step_count_is_named_as_the_reason(tmp_path, worker):
    series = keras.Input((None, 3), name="series")
    model = keras.Model(series, layers.Dense(2)(layers.GRU(4)(series)))
    result = export(model, tmp_path / "out", ("tflite", "onnx"), worker=worker)
    assert [a.format for a in result] == ["onnx"]
    [skipped] = result.skipped
    assert "series" in skipped.reason
    fixed = export(model, tmp_path / "fixed", ("tflite",), shapes={"series": (9, 3)}, worker=worker)
    assert fixed[0].inputs[0].shape == (1, 9, 3)


def test_a_network_that_int8_ruins_is_withheld(tmp_path, worker):
    """One input a thousand times larger than the rest takes all levels; the rest decides."""
    values = keras.Input((4,), name="values")
    large = layers.Lambda(lambda v: v * [[1e4, 1.0, 1.0, 1.0]])(values)
    x = layers.Dense(3, use_bias=False)(large)
    model = keras.Model(values, x)
    model.layers[-1].set_weights(
        [np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], "float32")]
    )
    x = np.random.default_rng(0).normal(size=(256, 4)).astype("float32")
    data = {"train": (x, x[:, 1:]), "val": (x, x[:, 1:])}
    out = tmp_path / "out"
    result = export(model, out, ("tflite",), ("float32", "int8"), data, worker=worker)
    [failed] = result.failed
    assert failed.quantize == "int8"
    assert not failed.verified.passed
    assert "noise" in failed.reason
    assert not result.passed
    assert sorted(p.name for p in out.iterdir()) == [
        "export.json", "manifest.json", "model_float32.tflite",
    ]  # fmt: skip


def test_another_models_file_is_refused(tmp_path, worker):
    model = conv()
    [artifact] = export(model, tmp_path / "out", ("tflite",), worker=worker)
    keras.utils.set_random_seed(4)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, activation="relu")(image)
    other = keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    assert verify(model, artifact).passed
    assert not verify(other, artifact).passed
    wider = keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))
    with pytest.raises(EdgepressError, match="don't fit"):
        verify(wider, artifact)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_layers_that_int8_ruins_stay_in_floats_where_a_floor_is_set(format, tmp_path, worker):
    keras.utils.set_random_seed(0)
    values = keras.Input((8,), name="values")
    x = layers.Dense(16, activation="relu", name="wide")(values)
    x = layers.Dense(16, name="outlier")(x)
    model = keras.Model(values, layers.Dense(3, name="class")(x))
    kernel, bias = model.get_layer("outlier").get_weights()
    kernel[:, 0] *= 3000  # one channel takes all levels of the layer's only scale …
    model.get_layer("outlier").set_weights([kernel, bias])
    kernel, bias = model.get_layer("class").get_weights()
    kernel[0] = 0  # … and decides nothing
    model.get_layer("class").set_weights([kernel, bias])
    x = np.random.default_rng(0).normal(size=(300, 8)).astype("float32")
    y = np.asarray(model(x)).argmax(-1)
    data = {"train": (x, y), "val": (x, y)}
    plain = export(model, tmp_path / "a", (format,), ("int8",), data, worker=worker)
    assert plain.failed
    mixed = export(model, tmp_path / "b", (format,), ("float32", "int8"), data, worker=worker,
                   int8_max_drop=0.03)  # fmt: skip
    assert mixed.passed
    artifact = next(a for a in mixed if a.quantize == "int8")
    assert artifact.verified.value >= 0.97
    assert len([note for note in mixed.notes if "in floats: " in note]) >= 2
    assert {p.name for p in (tmp_path / "b").iterdir()} == {
        "export.json", "manifest.json", f"model_float32.{format}", f"model_int8.{format}",
    }  # fmt: skip


def test_what_decides_by_a_hair_keeps_every_decision_if_all_else_fails(tmp_path, worker):
    """Inputs and the logits before a softmax count as well: with them in floats nothing is lost."""
    model, data = decided_by_a_hair()
    options = {"formats": ("tflite",), "quantize": ("int8",), "data": data, "worker": worker}
    plain = export(model, tmp_path / "plain", **options)
    assert all(artifact.verified.value < 1 for artifact in plain)
    [exact] = export(model, tmp_path / "exact", int8_max_drop=0.0, **options)
    assert exact.verified.value == 1.0


@pytest.mark.parametrize(
    "name",
    ["masked_hard_sigmoid.h5", *also_real("models/legacy/examples__masking__masking_zero_lstm.h5")],
)
def test_a_loop_that_the_conversion_to_float16_breaks_is_named(old_file, name, tmp_path, worker):
    """Its casts around the Clip of a hard sigmoid read what nothing in the loop's body makes."""
    model = load(old_file(name))
    result = export(model, tmp_path / "out", ("onnx",), ("float32", "float16"), worker=worker)
    assert [artifact.quantize for artifact in result] == ["float32"]
    [skipped] = result.skipped
    assert skipped.quantize == "float16"
    assert "operator Loop" in skipped.reason


def test_a_masked_recurrent_layer_has_a_float16_file(tmp_path, worker):
    """The bodies of loops are sorted too after the conversion."""
    series = keras.Input((5, 3), name="series")
    model = keras.Model(series, layers.LSTM(4)(layers.Masking()(series)))
    result = export(model, tmp_path / "out", ("onnx",), ("float16",), worker=worker)
    assert result.passed


EQUAL_BIASES = {
    "convolution": lambda **k: layers.Conv2D(4, 3, padding="same", **k),
    "depthwise": lambda **k: layers.DepthwiseConv2D(3, padding="same", **k),
    "transposed": lambda **k: layers.Conv2DTranspose(4, 3, padding="same", **k),
    "dense": lambda **k: layers.Dense(4, **k),
}


@pytest.mark.parametrize("kind", mostly_slow(EQUAL_BIASES, "convolution"))
def test_layers_of_equal_biases_keep_them_with_16_bit_activations(kind, tmp_path, worker):
    """The converter keeps one bias for all, in the unit of one: the others added a tenth of it."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((8, 8, 4), name="image")
    for _ in range(3):
        x = EQUAL_BIASES[kind](activation="tanh", bias_initializer="ones")(x)
    model = keras.Model(image, x)
    # Far larger than what the tanh gives: the layers' units differ.
    samples = 20 * np.random.default_rng(0).normal(size=(32, 8, 8, 4)).astype(np.float32)
    data = (samples, model.predict(samples, verbose=0))
    precisions = ("int8", "int16x8")
    result = export(model, tmp_path / "out", ("tflite",), precisions, data, worker=worker)
    eight, sixteen = (artifact.verified.mean_abs_error for artifact in result)
    assert sixteen < eight


def test_an_embedding_before_a_loop_has_a_dynamic_onnx_file_that_runs(tmp_path, worker):
    """With the embedding's table in 8 bits ONNX Runtime crashes on loading it (SIGABRT)."""
    words = keras.Input((8,), name="words")
    x = layers.LSTM(32, recurrent_activation="hard_sigmoid")(layers.Embedding(30, 8)(words))
    model = keras.Model(words, layers.Dense(256)(x))
    result = export(model, tmp_path / "out", ("onnx",), ("dynamic",), worker=worker)
    assert result.passed
    assert result[0].verified.max_abs_error > 1e-5  # that the dense layer's rounding leaves


def test_a_dynamic_file_in_which_all_would_stay_in_floats_is_refused(tmp_path, worker):
    """Both converters write it without a word."""
    image = keras.Input((8, 8, 3), name="image")
    model = keras.Model(image, layers.MaxPooling2D(2)(image))
    result = export(
        model, tmp_path / "out", ("tflite", "onnx"), ("float32", "dynamic"), worker=worker
    )
    assert [artifact.quantize for artifact in result] == ["float32", "float32"]
    tflite, onnx = (skipped.reason for skipped in result.skipped)
    assert "no weight of this model can be stored in fewer bits" in tflite
    assert "no weight of this graph" in onnx


def test_kernels_that_the_converter_leaves_in_floats_are_in_dynamic_files(tmp_path, worker):
    """TensorFlow's converter takes none of fewer than 1,024 weights."""
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Flatten()(layers.Conv2D(8, 3, activation="relu")(image))
    model = keras.Model(image, layers.Dense(2)(x))
    result = export(model, tmp_path / "out", ("tflite",), ("float32", "dynamic"), worker=worker)
    floats, dynamic = result.artifacts
    assert dynamic.bytes < floats.bytes
    assert {t.type for t in read_graph(dynamic.path).tensors if t.constant} >= {"INT8"}


def test_a_dynamic_onnx_file_does_not_overflow_on_processors_without_vnni(tmp_path, worker):
    """With all 8 bits of the weights its noise is ten times that on x86 with AVX2 alone."""
    keras.utils.set_random_seed(0)
    recurrent = [layers.LSTM(32, return_sequences=True), layers.LSTM(32)]
    model = keras.Sequential([keras.Input((10, 8)), *recurrent, layers.Dense(10)])
    samples = np.random.default_rng(0).normal(size=(256, 10, 8)).astype(np.float32)
    outputs = model.predict(samples, verbose=0)
    [artifact] = export(
        model, tmp_path / "out", ("onnx",), ("dynamic",), (samples, outputs), worker=worker
    )
    assert artifact.verified.mean_abs_error < 0.05 * outputs.std()


def test_a_relu_before_a_loop_stays_in_int8_onnx_files(tmp_path, worker):
    """The quantiser takes it out as clipped anyway; the loop's body then reads what is before."""
    keras.utils.set_random_seed(0)
    series = keras.Input((6, 4), name="series")
    x = layers.Bidirectional(layers.LSTM(6, return_sequences=True))(series)
    x = layers.LSTM(6, recurrent_activation="hard_sigmoid")(layers.ReLU()(x))
    model = keras.Model(series, layers.Dense(3)(x))
    samples = np.random.default_rng(0).normal(size=(256, 6, 4)).astype(np.float32)
    outputs = model.predict(samples, verbose=0)
    [artifact] = export(
        model, tmp_path / "out", ("onnx",), ("int8",), (samples, outputs), worker=worker
    )
    assert artifact.verified.mean_abs_error < 0.05 * outputs.std()


OPERATIONS = {
    "argmax": lambda x: keras.ops.argmax(x, axis=-1),
    "argmin": lambda x: keras.ops.argmin(x, axis=1, keepdims=True),
    "expm1": keras.ops.expm1,
    "log1p": lambda x: keras.ops.log1p(keras.ops.abs(x)),
}


@pytest.mark.parametrize("kind", mostly_slow(OPERATIONS, "argmax", "log1p"))
def test_operations_that_the_converters_do_not_know_by_name_convert(kind, tmp_path, worker):
    """Keras's argmax reads the bits of floats; tf2onnx has no word for exp(x)-1 and log(1+x)."""
    inputs = keras.Input((5, 4), name="x")
    model = keras.Model(inputs, OPERATIONS[kind](inputs))
    result = export(model, tmp_path / "out", ("tflite", "onnx"), worker=worker)
    assert [artifact.format for artifact in result] == ["tflite", "onnx"], result.skipped
    assert all(artifact.verified.max_abs_error < 1e-4 for artifact in result)


def test_a_sum_does_not_saturate_with_16_bit_activations(tmp_path, worker):
    """To the converter a sum has the range of its terms."""
    keras.utils.set_random_seed(0)
    series = keras.Input((10, 16), name="series")
    x = layers.AdditiveAttention()([layers.Dense(8)(series), layers.Dense(8)(series)])
    model = keras.Model(series, layers.Dense(3)(layers.Flatten()(x)))
    samples = np.random.default_rng(0).normal(size=(64, 10, 16)).astype(np.float32)
    data = (samples, model.predict(samples, verbose=0))
    eight, sixteen = export(
        model, tmp_path / "out", ("tflite",), ("int8", "int16x8"), data, worker=worker
    )
    assert sixteen.verified.mean_abs_error < eight.verified.mean_abs_error


def test_a_convolution_before_a_bidirectional_layer_has_an_int8_onnx_file(tmp_path, worker):
    """The quantiser puts nodes before those that they read."""
    image = keras.Input((8, 12, 1), name="image")
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    x = layers.Reshape((12, 32))(layers.Permute((2, 1, 3))(x))
    x = layers.Bidirectional(layers.GRU(6, return_sequences=True))(x)
    model = keras.Model(image, layers.Dense(5)(x))
    samples = np.random.default_rng(0).normal(size=(32, 8, 12, 1)).astype(np.float32)
    data = (samples, model.predict(samples, verbose=0))
    result = export(model, tmp_path / "out", ("onnx",), ("int8",), data, worker=worker)
    assert result.passed, result.skipped


@pytest.mark.parametrize("kind", mostly_slow(["tokens", "sign"], "tokens"))
def test_a_file_of_16_bits_exists_beside_operators_that_have_none(kind, tmp_path, worker, own_data):
    """TensorFlow's quantiser refuses the whole file for one index as input, or one operator."""
    pytest.importorskip("ai_edge_quantizer")
    keras.utils.set_random_seed(0)
    if kind == "tokens":
        given = keras.Input((6,), dtype="int32", name="tokens")
        x = layers.Embedding(20, 8, mask_zero=True)(given)
        x = layers.MultiHeadAttention(2, 4)(x, x)
    else:
        given = keras.Input((6,), name="values")
        x = layers.Dense(8)(given)
        x = x + keras.ops.sign(x)
    model = keras.Model(given, layers.Dense(3)(x))
    result = export(
        model, tmp_path / "out", ("tflite",), ("int8", "int16x8"), own_data(model), worker=worker
    )
    eight, sixteen = result.artifacts
    assert sixteen.verified.mean_abs_error < eight.verified.mean_abs_error
    assert "INT16" in {tensor.type for tensor in read_graph(sixteen.path).tensors}
    told = [note for note in result.notes if "int16x8" in note and "SIGN in floats" in note]
    assert len(told) == (kind == "sign")
