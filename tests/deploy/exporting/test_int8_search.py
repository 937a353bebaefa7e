"""Ranges, equalised channels, corrected biases: each is what it says, and kept where it helps."""

from __future__ import annotations

import re
from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.benchmarks.tflite.lean import lean
from edgepress.compress.errors import InputError
from edgepress.deploy.exporters import EXPORTERS, Job
from edgepress.deploy.exporting.export import export
from edgepress.deploy.exporting.int8_search import choose
from edgepress.deploy.quantize.bias_correction import bias_corrected
from edgepress.deploy.quantize.clipping import BINS, CLIPPING, Histogram, histogram
from edgepress.deploy.quantize.equalization import RULES, equalized
from edgepress.deploy.specs.export import ExportSpec


def depthwise(seed=0, rectifier=layers.ReLU):
    """A small depthwise network whose channels differ by orders of magnitude."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((12, 12, 3), name="image")
    x = image
    for count in (8, 16):
        x = layers.Conv2D(count, 1, use_bias=False)(x)
        x = rectifier()(layers.BatchNormalization()(x))
        x = layers.ZeroPadding2D(1)(x)
        x = layers.DepthwiseConv2D(3, strides=2)(x)
        x = rectifier()(layers.BatchNormalization()(x))
    x = layers.Dense(5, name="class")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, x)
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            spread = np.exp(rng.normal(0, 1.5, layer.gamma.shape))
            layer.gamma.assign(spread)
            layer.beta.assign(spread * rng.normal(0, 0.5, spread.shape))
    return model


def images(samples=256):
    return np.random.default_rng(1).normal(size=(samples, 12, 12, 3)).astype("float32")


def data(model, samples=256):
    x = images(samples)
    y = np.asarray(model(x))
    return {"train": (x, y), "val": (x, y)}


@given(
    seed=st.integers(0, 1000),
    spread=st.floats(0.1, 10),
    shift=st.floats(-3, 3),
    method=st.sampled_from(sorted(CLIPPING)),
)
@settings(max_examples=40, deadline=None)
def test_ranges_hold_zero_and_lie_within_what_was_seen(seed, spread, shift, method):
    values = np.random.default_rng(seed).normal(shift, spread, 4000).astype("float32")
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    counts = histogram(values, low, high)
    assert counts.sum() == values.size
    found = CLIPPING[method](Histogram(counts, float(low), float(high)))
    width = (high - low) / BINS
    assert low - width <= found[0] <= 0 <= found[1] <= high + width
    assert found[0] < found[1]


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy"])
def test_one_outlier_does_not_take_the_levels_of_all_others(method):
    values = np.append(np.random.default_rng(0).normal(size=2_000_000), 60.0).astype("float32")
    low, high = float(values.min()), 60.0
    found = CLIPPING[method](Histogram(histogram(values, low, high), low, high))
    assert found[1] < 20

    def error(ends):
        step = (ends[1] - ends[0]) / 255
        return np.square(np.clip(np.round(values / step) * step, *ends) - values)[:-1].mean()

    assert error(found) < error((low, high)) / 4


@pytest.mark.parametrize("rule", RULES)
def test_equalising_changes_nothing_in_floats(rule):
    model, x = depthwise(), images(32)
    even = equalized(model, [x], rule)
    want = np.asarray(model(x))
    np.testing.assert_allclose(even(x), want, atol=1e-4 * np.abs(want).max())
    assert not [x for x in even.layers if isinstance(x, layers.BatchNormalization)]


def test_activations_are_even_behind_the_layers_that_depthwise_ones_read():
    model, x = depthwise(), images(64)

    def unevenness(m, name):
        probe = keras.Model(m.inputs, m.get_layer(name).output)
        largest = np.abs(np.asarray(probe(x))).max((0, 1, 2))
        return largest.max() / largest[largest > 0].min()

    name = next(x.name for x in model.layers if isinstance(x, layers.ReLU))
    assert unevenness(model, name) > 3 * unevenness(equalized(model, [x], "ranges"), name)


def test_a_model_without_two_layers_in_a_row_has_nothing_to_equalise():
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, layers.Flatten()(layers.Conv2D(2, 3)(image)))
    assert equalized(model, [np.ones((2, 4, 4, 3), "float32")], "weights") is None


def test_corrected_biases_take_the_mean_error_of_rounded_kernels_back():
    """A single layer whose kernel is rounded: the means of its outputs are those of the source."""
    from edgepress.deploy.quantize.fake_quant import on_grid

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Conv2D(6, 3, padding="same", use_bias=False)(image))
    x = np.random.default_rng(0).uniform(0, 5, (64, 8, 8, 3)).astype("float32")
    corrected = bias_corrected(model, [x])
    kernel, bias = corrected.layers[-1].get_weights()
    np.testing.assert_array_equal(kernel, model.layers[-1].get_weights()[0])
    rounded = np.asarray(on_grid(kernel, (-1,)))
    want = np.asarray(model(x)).mean((0, 1, 2))
    corrected.layers[-1].set_weights([rounded, bias])
    np.testing.assert_allclose(np.asarray(corrected(x)).mean((0, 1, 2)), want, atol=1e-4)
    corrected.layers[-1].set_weights([rounded, 0 * bias])
    assert np.abs(np.asarray(corrected(x)).mean((0, 1, 2)) - want).max() > 1e-3


def test_what_helps_is_kept_and_each_trial_is_told(tmp_path, worker):
    model = depthwise()
    samples = data(model)
    result = export(model, tmp_path / "out", ("tflite",), ("int8",), samples, worker=worker,
                    calibration_method="auto")  # fmt: skip
    assert result.passed
    noise = [float(v) for v in re.findall(r"noise ([\d.]+)", " ".join(result.notes))]
    assert len(noise) == 7  # four methods, two rules, biases
    plain = export(model, tmp_path / "plain", ("tflite",), ("int8",), samples, worker=worker,
                   calibration_method="min-max", equalize=False, bias_correction=False)  # fmt: skip
    assert plain.notes == ()
    x, want = samples["val"]
    errors = []
    for artifact in (*result, *plain):
        with Runtime(artifact.path) as runtime:
            got = next(iter(runtime.predict({"image": x}).values()))
        errors.append(float(np.sqrt(np.square(got - want).mean()) / np.std(want)))
    assert errors[0] == pytest.approx(min(noise), abs=2e-3)
    assert errors[1] == pytest.approx(noise[0], abs=2e-3)
    assert errors[0] < errors[1]


def test_one_far_value_takes_no_levels_from_the_others_by_default(tmp_path, worker):
    image = keras.Input((12, 12, 3), name="image")
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(layers.Conv2D(4, 3)(image))))
    x = images(64)
    x[0, 0, 0, 0] = 100.0
    samples = {"train": (x, np.asarray(model(x))), "val": (x[1:], np.asarray(model(x[1:])))}
    errors = []
    for method in (None, "min-max"):
        [artifact] = export(model, tmp_path / str(method), ("tflite",), ("int8",), samples,
                            calibration_method=method, worker=worker)  # fmt: skip
        with Runtime(artifact.path) as runtime:
            got = next(iter(runtime.predict({"image": x[1:]}).values()))
        errors.append(float(np.square(got - samples["val"][1]).mean()))
    assert errors[0] < errors[1] / 4


@pytest.mark.parametrize(("format", "method"), [("tflite", "percentile"), ("onnx", "min-max")])
def test_what_was_not_asked_for_is_the_default_of_the_format(tmp_path, format, method):
    image = keras.Input((4,))
    model = keras.Model(image, layers.Dense(3)(image))
    job = Job(model, ExportSpec(), None, tmp_path, tmp_path / "probe.npz", tmp_path / "samples.npz")
    choice = choose(job, format, EXPORTERS[format], ["x"])
    assert choice.job.settings.calibration_method == method
    asked = replace(job, settings=ExportSpec(calibration_method="entropy"))
    choice = choose(asked, format, EXPORTERS[format], ["x"])
    assert choice.job.settings.calibration_method == "entropy"


@pytest.mark.slow
def test_c_and_tflite_share_the_choice(tmp_path, worker):
    model = depthwise()
    result = export(model, tmp_path / "out", ("c", "tflite"), ("int8",), data(model), "int8",
                    calibration_method="mse", worker=worker)  # fmt: skip
    assert result.passed
    file = lean((tmp_path / "out" / "model_int8.tflite").read_bytes(), fixed_shapes=True)
    assert f"model_int8[{len(file)}]" in (tmp_path / "out" / "model_int8.h").read_text()
    assert sum("ranges by mse" in note for note in result.notes) == 1


def test_onnx_has_no_ranges_by_mean_squared_error(tmp_path, worker):
    image = keras.Input((4,))
    model = keras.Model(image, layers.Dense(3)(image))
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    samples = {"train": (x, np.asarray(model(x))), "val": (x, np.asarray(model(x)))}
    result = export(model, tmp_path / "out", ("onnx",), ("float32", "int8"), samples,
                    calibration_method="mse", worker=worker)  # fmt: skip
    assert ["mean squared error" in skipped.reason for skipped in result.skipped] == [True]


@pytest.mark.parametrize(
    "options", [{"equalize": True}, {"bias_correction": True}, {"calibration_method": "mse"}]
)
def test_options_of_int8_without_int8_are_refused(tmp_path, options):
    image = keras.Input((4,))
    model = keras.Model(image, layers.Dense(3)(image))
    with pytest.raises(InputError, match="has no effect"):
        export(model, tmp_path / "out", ("tflite",), ("float32",), **options)


class _Shifted(keras.layers.Layer):
    """A layer of the user's own that can't be rebuilt from its configuration."""

    def __init__(self, shift, **options):
        super().__init__(**options)
        self.shift = shift

    def call(self, inputs):
        return self.shift(inputs)


def with_a_model_inside(shift=None):
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.DepthwiseConv2D(3)], name="inside")
    image = keras.Input((8, 8, 3), name="image")
    x = inner(image) if shift is None else shift(inner(image))
    return keras.Model(image, layers.GlobalAveragePooling2D()(x))


def answered_samples(model):
    x = np.random.default_rng(0).normal(size=(240, 8, 8, 3)).astype("float32")
    return {"train": (x, np.asarray(model(x))), "val": (x, np.asarray(model(x)))}


def test_models_inside_are_entered(tmp_path, worker):
    model = with_a_model_inside()
    data = answered_samples(model)
    result = export(model, tmp_path / "out", ("tflite",), ("int8",), data, worker=worker)
    assert result.passed
    assert any("biases corrected" in note for note in result.notes)
    assert not any("can't be tried" in note for note in result.notes)


def test_a_model_that_can_not_be_rebuilt_keeps_its_plain_file(tmp_path, worker):
    """The export says so and goes on."""
    model = with_a_model_inside(_Shifted(lambda x: x + 0.5, name="shifted"))
    data = answered_samples(model)
    result = export(model, tmp_path / "out", ("tflite",), ("int8",), data, worker=worker)
    assert result.passed
    assert any("can't be tried" in note and "shifted" in note for note in result.notes)
