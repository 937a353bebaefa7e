"""The verdict on an artifact's outputs, and which tensor is which."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from keras import layers

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.artifact import TensorSpec
from edgepress.deploy.exporters.tracing import graph_names
from edgepress.deploy.quantize import PRECISIONS
from edgepress.deploy.sources.sample_inputs import plausible_inputs
from edgepress.deploy.verification.judging import judge
from edgepress.deploy.verification.source_outputs import SourceOutputs
from edgepress.deploy.verification.tensor_matching import pair_inputs, pair_outputs

NAMES = st.lists(st.text(min_size=1, max_size=8), max_size=6)


def source(*outputs):
    return SourceOutputs(model=None, feed=lambda: iter([]), outputs=list(outputs))


def outputs(seed, size=50):
    return np.random.default_rng(seed).normal(size=(size, 6)).astype("float32")


@pytest.mark.parametrize("name", PRECISIONS)
@given(seed=st.integers(0, 1000), factor=st.floats(1e-3, 1e4))
@settings(max_examples=20, deadline=None)
def test_equal_outputs_pass_and_unrelated_ones_fail(name, seed, factor):
    want = outputs(seed) * factor
    same = judge(source(want), [want.copy()], PRECISIONS[name])
    assert same.passed
    assert same.max_abs_error == 0
    assert same.agreement == 1
    other = judge(source(want), [outputs(seed + 1) * factor], PRECISIONS[name])
    assert not other.passed
    assert other.reason


@pytest.mark.parametrize("name", PRECISIONS)
def test_indices_are_judged_by_how_many_differ(name):
    """A pixel of another class fails no file, however far the classes' numbers are apart."""
    want = np.random.default_rng(0).integers(0, 20, (10, 100))
    most = int(PRECISIONS[name].max_drop * want.size)
    have = want.copy()
    have.flat[:most] = 19 - have.flat[:most]
    found = judge(source(want), [have], PRECISIONS[name])
    assert found.passed
    assert found.agreement == 1 - most / want.size
    assert not judge(source(want), [19 - want], PRECISIONS[name]).passed


@pytest.mark.parametrize("name", PRECISIONS)
def test_whole_numbers_that_are_nearly_right_pass(name):
    """As those of an image: every one may be one level off."""
    want = np.random.default_rng(0).integers(0, 20_000, (10, 100))
    assert judge(source(want), [want + 1], PRECISIONS[name]).passed


@pytest.mark.parametrize("name", PRECISIONS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_value_that_is_no_number_fails(name, bad):
    want = outputs(0)
    have = want.copy()
    have[3, 2] = bad
    verdict = judge(source(want), [have], PRECISIONS[name])
    assert not verdict.passed
    assert np.isfinite(verdict.max_abs_error)


@pytest.mark.parametrize("name", PRECISIONS)
def test_outputs_of_nothing_but_zeros_fail(name):
    assert not judge(source(outputs(0)), [np.zeros((50, 6))], PRECISIONS[name]).passed


@given(seed=st.integers(0, 100), noise=st.floats(0.5, 2))
@settings(max_examples=20, deadline=None)
def test_the_tolerance_is_where_the_verdict_turns(seed, noise):
    assume(abs(noise - 1) > 1e-6)
    precision = PRECISIONS["float32"]
    want = outputs(seed).astype("float64")
    have = want.copy()
    have[0, 0] += noise * precision.tolerance * np.abs(want).max()
    assert judge(source(want), [have], precision).passed == (noise <= 1)


def _network(gain, depth=12):
    """Layers that widen small differences by about their gain, or don't."""
    random = np.random.default_rng(0)
    model = keras.Sequential(
        [keras.Input((16,), name="x"), *(layers.Dense(16, "tanh") for _ in range(depth))]
    )
    for layer in model.layers:
        layer.set_weights([random.normal(size=(16, 16)) * gain / 4, np.zeros(16)])
    x = random.normal(size=(80, 16)).astype("float32")
    want = np.asarray(model(x))
    return SourceOutputs(model, lambda: iter([{"x": x}]), [want]), want


@pytest.mark.parametrize(("times", "passes"), [(2, True), (3.9, True), (4.1, False)])
def test_a_difference_within_the_networks_own_rounding_passes(times, passes):
    given, want = _network(gain=5.0)
    assert 1e-4 < 4.1 * given.rounding < 0.01
    have = want.astype("float64")
    have[0, 0] += times * given.rounding * np.abs(want).max()
    found = judge(given, [have], PRECISIONS["float32"])
    assert found.passed == passes
    assert found.tolerance == pytest.approx(max(4 * given.rounding, 1e-4))


def test_where_rounding_stays_small_the_bound_stays():
    given, want = _network(gain=1.0)
    have = want + np.float32(3e-4) * np.abs(want).max()
    found = judge(given, [have], PRECISIONS["float32"])
    assert given.rounding < 1e-6
    assert (found.passed, found.tolerance) == (False, 1e-4)
    assert "float32 explains at most 0.0001" in found.reason


def test_a_network_that_mixes_its_samples_is_said_to() -> None:
    inputs = keras.Input((6,), name="x")
    model = keras.Model(inputs, layers.Softmax(axis=0)(inputs))
    x = outputs(0, 20)
    want = np.asarray(model(x))
    alone = np.concatenate([np.asarray(model(x[i : i + 1])) for i in range(20)])
    given = SourceOutputs(model, lambda: iter([{"x": x}]), [want])
    found = judge(given, [alone], PRECISIONS["float32"])
    assert not found.passed
    assert "mixes the samples of a batch" in found.reason


def test_a_stand_in_explains_nothing():
    given, want = _network(gain=5.0)
    assert SourceOutputs(given.model, given.feed, [want[::-1]]).rounding == 0


@given(names=NAMES)
def test_graph_names_are_distinct_identifiers(names):
    found = graph_names(names)
    assert len(set(found)) == len(names)
    assert all(name.isidentifier() for name in found)


def two_inputs():
    a, b = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    return keras.Model([a, b], [layers.Dense(2, name="p")(a), layers.Dense(3, name="q")(b)])


def test_inputs_are_found_by_name_whatever_their_order():
    model = two_inputs()
    specs = [TensorSpec(f"serving_default_{n}:0", (None, 4), "float32") for n in
             ("second", "first")]  # fmt: skip
    pairing = pair_inputs(model, specs)
    assert [s.name for s in pairing.specs] == [
        "serving_default_first:0", "serving_default_second:0",
    ]  # fmt: skip


def test_outputs_without_names_are_found_by_shape():
    model = two_inputs()
    want = [np.zeros((5, 2)), np.zeros((5, 3))]
    got = {"PartitionedCall:0": np.ones((5, 3)), "PartitionedCall:1": np.ones((5, 2))}
    specs = [TensorSpec(name, array.shape, "float32") for name, array in got.items()]
    assert [g.shape for g in pair_outputs(model, want, specs, got)] == [(5, 2), (5, 3)]


def test_channels_first_is_recognised():
    image = keras.Input((4, 6, 3), name="image")
    model = keras.Model(image, layers.Flatten()(image))
    pairing = pair_inputs(model, [TensorSpec("image", (None, 3, 4, 6), "float32")])
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 3))
    np.testing.assert_array_equal(pairing.apply({"image": x})["image"], x.transpose(0, 3, 1, 2))


def test_inputs_of_another_model_are_refused():
    with pytest.raises(InputError, match="don't fit"):
        pair_inputs(two_inputs(), [TensorSpec("a", (None, 4), "f4"), TensorSpec("b", (1, 9), "f4")])
    with pytest.raises(InputError, match="1 inputs"):
        pair_inputs(two_inputs(), [TensorSpec("a", (None, 4), "f4")])


def test_plausible_inputs_fit_the_first_layers():
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    image = keras.Input((None, 8, 3), name="image")
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(image))
    y = layers.Flatten()(layers.Embedding(11, 2)(tokens))
    model = keras.Model([tokens, image], layers.Concatenate()([x, y]))
    found = plausible_inputs(model, 40, seed=1)
    assert found["tokens"].dtype == np.int32
    assert 5 < found["tokens"].max() < 11
    assert found["image"].shape == (40, 32, 8, 3)
    assert 200 < found["image"].max() <= 255
    again = plausible_inputs(model, 40, seed=1)
    assert all(np.array_equal(found[k], again[k]) for k in found)
