"""Weights of samples count in the loss as Keras counts them, wherever they come from."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from edgepress.compress import finetune
from edgepress.compress.data import open_data
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(48, 4)).astype("float32")
CLASS = np.arange(48) % 3
WEIGHT = RANDOM.random(48).astype("float32") * (np.arange(48) % 4 > 0)
INPUT = keras.Input((4,))


def model():
    keras.utils.set_random_seed(0)
    return keras.Model(INPUT, layers.Dense(3, activation="softmax", name="out")(INPUT))


def triples():
    whole = (X, CLASS, WEIGHT)
    return {
        "arrays": {
            "x_train": X, "y_train": CLASS, "sample_weight_train": WEIGHT,
            "x_val": X, "y_val": CLASS, "sample_weight_val": WEIGHT[:, None],
        },
        "tuples": {"train": whole, "val": whole},
        "streams": dict.fromkeys(
            ("train", "val"), tf.data.Dataset.from_tensor_slices(whole).batch(7)
        ),
    }  # fmt: skip


@pytest.mark.parametrize("form", ["arrays", "tuples", "streams"])
def test_a_training_is_keras_own_with_the_same_weights(form):
    data, reference = triples()[form], model()
    options = {"epochs": 1, "batch_size": 16, "optimizer": "sgd", "lr": 0.1, "seed": 3}
    tuned = finetune(model(), data, restore_best=False, **options)
    reference.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    split = open_data(data, model()).training_split
    reference.fit(split.epoch(16, 3, 0), verbose=0)
    for ours, theirs in zip(tuned.model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    expected = reference.evaluate(X, CLASS, sample_weight=WEIGHT, batch_size=48, verbose=0)
    assert tuned.history.epochs["val_loss"][0] == pytest.approx(expected, rel=1e-4)
    hits = (np.asarray(tuned.model(X)).argmax(-1) == CLASS).mean()
    assert tuned.history.after == pytest.approx(hits)  # metrics are those of all samples


def test_samples_without_weight_teach_nothing():
    wrong = np.where(WEIGHT == 0, (CLASS + 1) % 3, CLASS)
    results = [
        finetune(model(), {"train": (X, y, WEIGHT), "val": (X, CLASS)}, epochs=2, seed=1)
        for y in (CLASS, wrong)
    ]
    one, other = (r.model.get_weights() for r in results)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_reach_cached_features_and_classes():
    hidden = layers.Dense(5, activation="relu", name="hidden")(INPUT)
    deep = keras.Model(INPUT, layers.Dense(3, activation="softmax", name="out")(hidden))
    data = {"train": (X, CLASS, WEIGHT), "val": (X, CLASS, WEIGHT)}
    options = {"epochs": 2, "unfreeze": ["out"], "class_weights": "0=2,1=0.5", "seed": 1}
    cached, plain = (
        finetune(deep, data, feature_cache=cache, **options).model.get_weights()
        for cache in (True, False)
    )
    for a, b in zip(cached, plain, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_weights_by_output_and_by_place():
    two = keras.Model(
        INPUT,
        [
            layers.Dense(3, activation="softmax", name="kind")(INPUT),
            layers.Dense(1, name="size")(INPUT),
        ],
    )
    data = {"x": X, "y__kind": CLASS, "y__size": X[:, :1], "sample_weight__kind": WEIGHT}
    task = open_data(data, two).task
    batch = next(iter(open_data(data, two).training_split.epoch(8, 0, 0)))
    inputs, targets, weights = batch
    assert set(weights) == {"kind"}
    outputs = two(inputs)
    one = keras.losses.SparseCategoricalCrossentropy()(targets["kind"], outputs[0], weights["kind"])
    other = keras.losses.MeanSquaredError()(targets["size"], outputs[1])
    assert float(task.total_loss(outputs, targets, weights)) == pytest.approx(float(one + other))
    image = keras.Input((4, 4, 1))
    masks = keras.Model(image, layers.Conv2D(3, 1, activation="softmax")(image))
    places = RANDOM.random((6, 4, 4)).astype("float32")
    given = (RANDOM.random((6, 4, 4, 1)), RANDOM.integers(0, 3, (6, 4, 4)), places)
    tuned = finetune(masks, {"train": given, "val": given[:2]}, epochs=1, class_weights="0=2")
    assert np.isfinite(tuned.history.epochs["loss"]).all()


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        (-WEIGHT, "0 or more"),
        (np.where(WEIGHT > 0, WEIGHT, np.nan), "sample 0 is nan"),
        (np.zeros(48), "0 for all samples"),
        (WEIGHT[:40], "sample_weight 40"),
        (np.array(["a"] * 48), "values"),
        ({"other": WEIGHT}, "doesn't have"),
    ],
)
def test_weights_that_are_none_are_refused(weights, told):
    with pytest.raises(InputError, match=told):
        open_data({"train": (X, CLASS, weights)}, model())


@pytest.mark.parametrize("name", ["weights_train", "sample_weights_train", "weight_train"])
def test_a_near_name_is_told(name):
    with pytest.raises(InputError, match="did you mean 'sample_weight_train'"):
        open_data(DataSpec(spec={"x_train": X, "y_train": CLASS, name: WEIGHT}), model())
