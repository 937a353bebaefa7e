"""Streams without an end, a shape or an order; copies that a split keeps together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from edgepress.compress import finetune, open_data
from edgepress.compress.data.readers.stream_checks import count_within
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(400, 4)).astype(np.float32)
Y = np.arange(400) % 4
SHAPES = (tf.TensorSpec((4,), tf.float32), tf.TensorSpec((), tf.int64))


@pytest.fixture(scope="module")
def model() -> keras.Model:
    x = keras.Input((4,), name="x")
    return keras.Model(x, keras.layers.Dense(4, activation="softmax", name="y")(x))


def endless() -> Iterator[Any]:
    for number in itertools.count():
        yield X[number % 400], Y[number % 400]


def finite() -> Iterator[Any]:
    yield from zip(X, Y, strict=True)


def generated(function: Any, **spec: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_generator(function, **(spec or {"output_signature": SHAPES}))


def test_a_generator_without_an_end_is_noticed_within_seconds() -> None:
    stream = generated(endless)
    with pytest.raises(InputError) as caught:
        count_within(stream, "the data", most_seconds=0.5)
    assert "has not ended after" in caught.value.message
    assert ".take(N)" in caught.value.hint
    assert count_within(generated(finite), "the data", most_seconds=60) == 400
    assert count_within(stream.take(7).filter(lambda *_: True), "the data", 60) == 7


def batches_without_an_end() -> Iterator[Any]:
    for number in itertools.count():
        yield np.full((2, 4), number, np.float32), np.array([number % 4, 1])


def of_batches(function: Any = batches_without_an_end) -> tf.data.Dataset:
    shapes = (tf.TensorSpec((None, 4), tf.float32), tf.TensorSpec((None,), tf.int64))
    return tf.data.Dataset.from_generator(function, output_signature=shapes)


def seen(split: Any, epoch: int, skipped: int = 0) -> list[float]:
    drawn = split.epoch(3, 0, epoch, skip_batches=skipped)
    return [float(v) for x, *_ in drawn.as_numpy_iterator() for v in x[:, 0]]


def test_an_epoch_of_a_stream_without_an_end_is_its_next_batches(model: keras.Model) -> None:
    given = {"train": of_batches(), "test": (X, Y)}
    data = open_data(DataSpec(spec=given, steps_per_epoch=3), model)
    split = data.training_split
    assert split.size == 6
    whole = [[float(n) for n in range(3 * e, 3 * e + 3) for _ in range(2)] for e in range(3)]
    assert [seen(split, e) for e in range(3)] == whole
    assert seen(split, 1) == whole[1]  # entered again, as a resumed training does
    assert seen(split, 2, 1) == whole[2][3:]
    tuned = finetune(model, DataSpec(spec=given, steps_per_epoch=3), epochs=2, batch_size=3)
    assert len(tuned.history.epochs["loss"]) == 2


def test_a_stream_that_ends_starts_over(model: keras.Model) -> None:
    def four() -> Iterator[Any]:
        yield from itertools.islice(batches_without_an_end(), 4)

    data = open_data(
        DataSpec(spec={"train": of_batches(four), "test": (X, Y)}, steps_per_epoch=3), model
    )
    assert seen(data.training_split, 1) == [3.0, 3.0, 0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"train": (X, Y), "test": (X, Y)}, "is for a training split that is a tf.data"),
        ({"train": generated(endless)}, "elements are single samples"),
        ({"train": of_batches(), "test": of_batches().repeat()}, "never ends"),
    ],
)
def test_steps_for_what_has_none_are_refused(data: Any, message: str, model: keras.Model) -> None:
    with pytest.raises(InputError, match=message):
        open_data(DataSpec(spec=data, steps_per_epoch=3), model)


@pytest.mark.slow
def test_opening_data_without_an_end_ends(model: keras.Model) -> None:
    with pytest.raises(InputError, match="has not ended after"):
        open_data({"train": generated(endless)}, model)


ragged = tf.data.Dataset.from_tensor_slices((tf.ragged.constant([[1.0], [1.0, 2.0]]), [0, 1]))
sparse = tf.data.Dataset.from_tensor_slices((tf.sparse.from_dense(X[:2]), [0, 1]))


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (ragged, "ragged tensors"),
        (ragged.ragged_batch(2), "ragged tensors"),
        (sparse, "sparse tensors"),
        (generated(finite, output_types=(tf.float32, tf.int64)), "no known shape"),
        (tf.data.Dataset.from_tensor_slices((X, Y)).repeat(), "never ends"),
    ],
)
def test_what_makes_no_batch_is_one_line(stream: Any, message: str, model: keras.Model) -> None:
    with pytest.raises(InputError) as caught:
        open_data({"train": stream}, model)
    line = caught.value.format_message()
    assert message in line
    assert "\n" not in line


def test_shapes_that_the_stream_leaves_open_are_the_models(model: keras.Model) -> None:
    open_shape = (tf.TensorSpec((None,), tf.float32), tf.TensorSpec((), tf.int64))
    data = open_data({"train": generated(finite, output_signature=open_shape)}, model)
    assert data.train.in_order(8).element_spec[0].shape == (None, 4)
    short = generated(lambda: iter([(X[0, :3], 0)]), output_signature=open_shape)
    with pytest.raises(InputError) as caught:
        open_data({"train": short}, model)
    assert "[3] is not compatible with expected shape [4]" in caught.value.message
    assert "{{" not in caught.value.message


def sorted_stream(labels: np.ndarray) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((X, labels))


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (sorted_stream(np.sort(Y)), True),
        (sorted_stream(np.sort(Y)).batch(16), True),
        (sorted_stream(np.eye(4)[np.sort(Y)]), True),
        (sorted_stream(np.sort(Y)[::-1]), True),
        (sorted_stream(Y), False),
        (sorted_stream(np.sort(Y)).shuffle(400, seed=0), False),
        (sorted_stream(RANDOM.permutation(Y)), False),
    ],
)
def test_a_stream_sorted_by_class_is_said(stream, said: bool, model: keras.Model) -> None:
    notes = open_data({"train": stream}, model).warnings
    assert any("sorted by class" in note for note in notes) == said


@pytest.fixture(scope="module")
def several() -> keras.Model:
    x = keras.Input((4,), name="x")
    dense = keras.layers.Dense
    kind, size = dense(4, activation="softmax", name="kind")(x), dense(1, name="size")(x)
    return keras.Model(x, [kind, size])


def weighted(weights: Any, batch: int = 40) -> tf.data.Dataset:
    targets = {"kind": Y, "size": X[:, :1]}
    return tf.data.Dataset.from_tensor_slices((X, targets, weights)).batch(batch)


KIND, SIZE = np.linspace(0, 2, 400), np.linspace(1, 0.5, 400)[:, None]


@pytest.mark.parametrize(
    "weights",
    [{"kind": KIND, "size": SIZE}, (KIND, SIZE)],
    ids=["by name", "in order"],
)
def test_weights_of_a_stream_by_output_count_as_in_keras(weights: Any, several) -> None:
    data = open_data({"train": weighted(weights), "test": (X, [Y, X[:, :1]])}, several)
    total = [
        float(data.task.total_loss(several(x), targets, counting))
        for x, targets, counting in data.train.epoch(40, 0, 0)
    ]
    twin = keras.models.clone_model(several)
    twin.set_weights(several.get_weights())
    twin.compile(loss=["sparse_categorical_crossentropy", "mse"])
    given = [KIND.astype("float32"), SIZE[:, 0].astype("float32")]
    expected = twin.evaluate(X, [Y, X[:, :1]], sample_weight=given, batch_size=40, verbose=0)
    assert np.mean(total) == pytest.approx(expected[0], rel=1e-5)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"kinds": KIND}, "is for output 'kinds', which the model doesn't have"),
        (
            {"size": np.ones((400, 3))},
            r"sample_weight has \(3,\) for each sample, its target \(1,\)",
        ),
        (np.ones((400, 3)), r"sample_weight has \(3,\) for each sample"),
        ({"kind": KIND - 1}, "sample_weight of sample 0 is -1"),
        ({"kind": KIND * np.nan}, "sample_weight of sample 0 is nan"),
    ],
)
@pytest.mark.parametrize("batched", [True, False])
def test_weights_that_no_output_takes_are_refused(weights, says, batched, several) -> None:
    stream = weighted(weights)
    with pytest.raises(InputError, match=says):
        open_data({"train": stream if batched else stream.unbatch()}, several)


def test_weights_that_are_none_count_nothing(several) -> None:
    stream = weighted(KIND).map(lambda x, y, _: (x, y, None))
    assert not open_data({"train": stream}, several).train.weighted
    data = open_data((X, [Y, X[:, :1]], [None, SIZE]), several)
    assert set(data.train.source.weights) == {"size"}


def test_several_outputs_and_streams_without_an_end_are_looked_at_too(several, model) -> None:
    order = np.argsort(Y, kind="stable")
    targets = {"kind": Y[order], "size": X[order, :1]}
    stream = tf.data.Dataset.from_tensor_slices((X[order], targets)).batch(16)
    told = " ".join(open_data({"train": stream}, several).warnings)
    assert "sorted by class of output 'kind', as its first 400 samples" in told
    endless = sorted_stream(np.sort(Y)).batch(16).repeat()
    given = DataSpec(spec={"train": endless, "test": (X, Y)}, steps_per_epoch=3)
    assert "sorted by class" in " ".join(open_data(given, model).warnings)


def rows(split: Any) -> set[bytes]:
    return {row.tobytes() for x, _ in split.in_order().as_numpy_iterator() for row in x}


@pytest.mark.parametrize("copies", [1, 30, 100])
def test_copies_of_a_sample_are_in_one_split(copies: int, model: keras.Model) -> None:
    x = np.concatenate([X, np.repeat(X[:3], copies, 0), X[100:150]])
    y = np.concatenate([Y, np.repeat(Y[:3], copies), Y[100:150]])
    data = open_data({"x": x, "y": y}, model)
    assert not rows(data.train) & rows(data.val)
    assert data.train.size + data.val.size == len(x)
    assert data.val.size == pytest.approx(0.2 * len(x), rel=0.15)
    assert any(f"{50 + 3 * copies} samples are copies" in note for note in data.warnings)
    assert not any("in the training split too" in note for note in data.warnings)


def test_without_copies_nothing_changes_and_combinations_stay_in_every_split(model) -> None:
    plain = open_data({"x": X, "y": Y}, model)
    assert np.bincount(plain.val.sample(80)[1]).tolist() == [20] * 4
    few = RANDOM.integers(0, 2, (400, 4)).astype(np.float32)
    data = open_data({"x": few, "y": Y}, model)
    assert rows(data.train) >= rows(data.val)


def test_copies_of_image_files_are_in_one_split(tmp_path: Path) -> None:
    image = keras.Input((4, 4, 1))
    flat = keras.layers.Flatten()(image)
    model = keras.Model(image, keras.layers.Dense(2, activation="softmax")(flat))
    for place, name in itertools.product(range(12), "ab"):
        (tmp_path / name).mkdir(exist_ok=True)
        pixels = np.full((4, 4), place // 2 * 20 + (name == "b"), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name / f"{place}.png")
    data = open_data(tmp_path, model)
    assert not rows(data.train) & rows(data.val)
    assert 4 <= data.val.size <= 6
