"""Figures on pipelines that give other samples, or another order, on each pass."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from edgepress.compress.data import evaluate, open_data
from edgepress.compress.data.passes import Passes
from edgepress.compress.data.readers.fixing import fixed
from edgepress.compress.data.readers.storage import Limits
from edgepress.compress.data.readers.streams import stream_source
from edgepress.compress.errors import InputError
from edgepress.deploy import benchmark, export, verify

SIZE = 90


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,), name="x")
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="y")(inputs))


@pytest.fixture(scope="module")
def samples(model):
    x = np.random.default_rng(0).normal(size=(SIZE, 6)).astype("float32")
    y = model.predict(x, verbose=0).argmax(1)
    y[::5] = (y[::5] + 1) % 3
    return x, y


def _pairs(samples):
    return tf.data.Dataset.from_tensor_slices(samples)


def _drawn(samples):
    """Samples that are drawn again on each pass."""
    x, y = samples

    def generate():
        order = np.random.default_rng().permutation(SIZE)
        yield from zip(x[order], y[order], strict=True)

    signature = (tf.TensorSpec((6,)), tf.TensorSpec((), tf.int64))
    return tf.data.Dataset.from_generator(generate, output_signature=signature)


STREAMS = {
    "shuffled, batched": lambda s: _pairs(s).shuffle(SIZE).batch(16),
    "shuffled, one by one": lambda s: _pairs(s).shuffle(SIZE),
    "shuffled batches": lambda s: _pairs(s).batch(9).shuffle(10),
    "repeated, then taken": lambda s: _pairs(s).shuffle(SIZE).repeat(2).take(SIZE),
    "generator": _drawn,
    "mappings": lambda s: _pairs(({"x": s[0]}, {"y": s[1]})).shuffle(SIZE).batch(16),
    "in order": lambda s: _pairs(s).batch(16),
}


@pytest.mark.parametrize("name", ["val", "test"])
@pytest.mark.parametrize("kind", STREAMS)
def test_a_split_has_the_models_true_accuracy_at_each_pass(kind, name, model, samples):
    stream = STREAMS[kind](samples)
    dataset = open_data({"train": samples, name: stream}, model)
    split, task = dataset.report_split, dataset.task
    if kind == "repeated, then taken":  # which samples those are, is settled at the first pass
        expected = evaluate(model, split, task)
    else:
        expected = float((model.predict(samples[0], verbose=0).argmax(1) == samples[1]).mean())
    assert evaluate(model, split, task) == pytest.approx(expected)
    passes = Passes(split, 32)
    first, second = ([inputs["x"] for inputs, _ in passes] for _ in range(2))
    np.testing.assert_array_equal(np.concatenate(first), np.concatenate(second))


def test_verify_export_and_benchmark_agree_on_a_shuffled_split(tmp_path, model, samples):
    data = {"train": samples, "test": _pairs(samples).shuffle(SIZE).batch(16)}
    true = float((model.predict(samples[0], verbose=0).argmax(1) == samples[1]).mean())
    exported = export(model, tmp_path / "out", formats=["tflite"], data=data)[0]
    again = verify(model, exported, data)
    dataset = open_data(data, model)
    row = benchmark([exported], runs=1, launches=1, max_seconds=1, data=dataset).measurements[0]
    assert exported.verified.passed
    assert again.passed
    for value in (exported.verified.value, again.value, row.value):
        assert value == pytest.approx(true)


def test_a_shuffled_split_has_one_order_in_all_runs(model, samples):
    orders = [
        fixed(stream_source(_pairs(samples).shuffle(SIZE), model, "test"), "test").targets
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*orders)


def test_the_hash_of_shuffled_data_is_that_of_its_samples(model, samples):
    def fingerprint(x, y):
        return open_data(
            {"train": _pairs((x, y)).shuffle(SIZE), "test": _pairs((x, y)).shuffle(SIZE)}, model
        ).fingerprint

    x, y = samples
    assert fingerprint(x, y) == fingerprint(x, y) != fingerprint(x + 1, y)


def test_what_does_not_fit_in_memory_is_kept_on_disk(model, samples):
    limits = Limits(memory=1e-6, disk=1)
    source = fixed(stream_source(_pairs(samples).shuffle(SIZE), model, "test"), "test", limits)
    assert source.on_disk
    first, second = (list(source.batches(None, 32).as_numpy_iterator()) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one[0]["x"], other[0]["x"])
    given = np.concatenate([batch[0]["x"] for batch in first])
    np.testing.assert_array_equal(np.sort(given, 0), np.sort(samples[0], 0))


def test_without_room_a_shuffled_split_is_refused_and_a_steady_one_read_again(model, samples):
    limits = Limits(memory=1e-6, disk=0)
    with pytest.raises(InputError, match="on each pass"):
        fixed(stream_source(_pairs(samples).shuffle(SIZE), model, "test"), "test", limits)
    steady = stream_source(_pairs(samples), model, "test")
    assert fixed(steady, "test", limits) is steady


def test_a_later_pass_that_departs_is_refused(model, samples, monkeypatch):
    monkeypatch.setattr("edgepress.compress.data.opening.fixed", lambda source, where: source)
    stream = _pairs(samples).take(70).concatenate(_pairs(samples).skip(70).shuffle(SIZE))
    passes = Passes(open_data({"test": stream}, model).report_split, 32)
    list(passes)
    with pytest.raises(InputError, match="on each pass"):
        list(passes)


def test_a_generator_that_gives_its_samples_once_is_refused(model, samples):
    left = iter(zip(*samples, strict=True))
    signature = (tf.TensorSpec((6,)), tf.TensorSpec((), tf.int64))
    stream = tf.data.Dataset.from_generator(lambda: left, output_signature=signature)
    with pytest.raises(InputError, match="second pass"):
        open_data({"train": samples, "test": stream}, model)
