"""Weights of labels and of their positives count in the loss, and in nothing else."""

from __future__ import annotations

import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from edgepress.compress import finetune, open_data
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec, FinetuneSpec
from edgepress.compress.training.loop.class_weights import class_weights, positive_weights
from edgepress.compress.training.loop.steps import Objective

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 4)).astype("float32")
LABELS = (RANDOM.random((60, 3)) < [0.1, 0.5, 0.8]).astype("int64")
LABELS[:3] = np.eye(3)
YES = LABELS[:, :1]


def network(size: int = 3, activation: str = "sigmoid") -> keras.Model:
    vector = keras.Input((4,))
    return keras.Model(vector, keras.layers.Dense(size, activation=activation)(vector))


def opened(y: np.ndarray, model: keras.Model, **options):
    return open_data(DataSpec(spec={"train": (X, y), "test": (X, y)}, **options), model)


def test_balanced_is_negatives_by_positives_of_what_has_a_label():
    y = LABELS.copy()
    y[5:20, 1] = -1
    model = network()
    data = opened(y, model, ignore_label="-1")
    kept = data.training_split.source.targets
    expected = [(kept[:, i] == 0).sum() / (kept[:, i] == 1).sum() for i in range(3)]
    np.testing.assert_allclose(positive_weights("balanced", model, data), expected)


def test_weights_are_given_in_every_form(tmp_path):
    model = network()
    data = opened(LABELS, model)
    (tmp_path / "w.json").write_text(json.dumps([1, 5, 2.5]))
    (tmp_path / "named.json").write_text(json.dumps({"1": 5, "2": 2.5}))
    (tmp_path / "w.txt").write_text("1\n5\n2.5\n")
    np.save(tmp_path / "w.npy", np.array([1, 5, 2.5]))
    files = [str(tmp_path / name) for name in ("w.json", "named.json", "w.txt", "w.npy")]
    for setting in ("1,5,2.5", "1=5,2=2.5", *files):
        assert positive_weights(setting, model, data) == (1.0, 5.0, 2.5)
    assert positive_weights("3", model, data) == (3.0, 3.0, 3.0)
    assert positive_weights("none", model, data) == ()
    for given in ([1, 5, 2.5], {"1": 5, "2": 2.5}, 3):
        text = FinetuneSpec(positive_weights=given).positive_weights
        assert positive_weights(text, model, data)[1] in (5.0, 3.0)


@pytest.mark.parametrize("y", [LABELS, YES], ids=["several", "one"])
def test_the_loss_is_that_of_weighted_positives(y):
    model = network(y.shape[1])
    data = opened(y, model)
    weights = tuple(range(2, 2 + y.shape[1]))
    given = model.predict(X, verbose=0)
    objective = Objective(data.task, FinetuneSpec(), positive=weights)
    found = float(objective.task_loss(X, tf.constant(given), tf.constant(y), train=True))
    by_label = np.where(y == 1, -np.array(weights) * np.log(given), -np.log1p(-given))
    assert found == pytest.approx(by_label.mean(), rel=1e-4)
    plain = float(objective.task_loss(X, tf.constant(given), tf.constant(y)))
    assert plain == pytest.approx(np.where(y == 1, -np.log(given), -np.log1p(-given)).mean(), 1e-4)


def test_class_weights_of_labels_weigh_each_label():
    model = network()
    data = opened(LABELS, model)
    weights = class_weights("0=3,2=0", model, data)
    assert weights == (3.0, 1.0, 0.0)
    given = model.predict(X, verbose=0)
    objective = Objective(data.task, FinetuneSpec(), weights=weights)
    found = float(objective.task_loss(X, tf.constant(given), tf.constant(LABELS), train=True))
    by_label = np.where(LABELS == 1, -np.log(given), -np.log1p(-given)) * [3, 1, 0]
    assert found == pytest.approx(by_label.mean(), rel=1e-4)


@pytest.mark.slow
def test_masks_have_positives_too_and_figures_stay_unweighted():
    image = keras.Input((4, 4, 2))
    keras.utils.set_random_seed(0)
    model = keras.Model(image, keras.layers.Conv2D(1, 1, activation="sigmoid")(image))
    y = (RANDOM.random((24, 4, 4, 1)) < 0.05).astype("int64")
    y[:, 0] = 255
    x = RANDOM.normal(size=(24, 4, 4, 2)).astype("float32")
    data = DataSpec(spec={"train": (x, y), "test": (x, y)}, ignore_label="255", metric="recall")
    options = {"epochs": 15, "lr": 0.1, "batch_size": 4, "restore_best": False}
    plain = finetune(model, data, **options)
    tuned = finetune(model, data, positive_weights="balanced", **options)
    assert plain.history.before == tuned.history.before
    assert plain.history.after < 0.2 < tuned.history.after
    kept = y != 255
    chosen = tuned.model.predict(x, verbose=0) > 0.5
    found = (chosen & (y == 1))[kept].sum() / (y == 1)[kept].sum()
    assert tuned.history.after == pytest.approx(found)


CLASSES = np.arange(60) % 3


@pytest.mark.parametrize(
    ("y", "activation", "options", "message"),
    [
        (CLASSES, "softmax", {"positive_weights": "balanced"}, "for one output of labels"),
        (CLASSES, "softmax", {"class_weights": "0=0,1=0,2=0"}, "all are 0"),
        (LABELS, "sigmoid", {"positive_weights": "1,2"}, "has 2 numbers, the model 3 labels"),
        (LABELS, "sigmoid", {"positive_weights": "7=2"}, "there is no class '7'"),
        (LABELS, "sigmoid", {"positive_weights": "-1"}, "not a weight of 0 or more"),
        (LABELS, "sigmoid", {"positive_weights": "gone.json"}, "not a weight of 0 or more"),
        (LABELS, "sigmoid", {"class_weights": "balanced"}, "can't be balanced"),
    ],
)
def test_weights_without_effect_are_refused(y, activation, options, message):
    model = network(3, activation)
    with pytest.raises(InputError, match=message):
        finetune(model, opened(y, model), epochs=1, **options)


def _declared(path):
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f8", "fortran_order": False, "shape": (10**11,)}
        )


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("w.npy", _declared, "w.npy' can't be read"),
        ("w.json", lambda path: path.write_text("[" * 100_000), "nested too deep"),
        ("w.json", lambda path: path.write_text(f"[{'9' * 5000}, 1, 1]"), "thousands of digits"),
        ("w.txt", lambda path: path.write_bytes(b"\xff\xfe1"), "isn't UTF-8"),
        ("w.txt", lambda path: path.write_bytes(bytes(10_000_001)), "is no list of weights"),
        ("w.txt", os.mkfifo, "is a pipe, not a file"),
    ],
)
def test_a_file_that_holds_no_weights_is_named(name, write, message, tmp_path):
    model = network()
    write(tmp_path / name)
    with pytest.raises(InputError, match=message):
        positive_weights(str(tmp_path / name), model, opened(LABELS, model))


def test_more_weights_than_a_name_has_letters_are_read():
    model = network(99)
    data = opened(np.tile(LABELS, 33), model)
    assert positive_weights(",".join(["1.25"] * 99), model, data) == (1.25,) * 99


def test_weights_that_no_loss_would_heed_are_refused(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import keras\ndef one(y, p): return keras.ops.mean((y - p) ** 2)\n"
    )
    model = network()
    data = opened(LABELS, model, loss=f"{tmp_path / 'mine.py'}:one")
    with pytest.raises(InputError, match="nothing to weigh"):
        finetune(model, data, epochs=1, positive_weights="2")
    taught = {"teacher": network(), "distill_weight": 1, "positive_weights": "2"}
    with pytest.raises(InputError, match="learns from its teacher alone"):
        finetune(model, opened(LABELS, model), epochs=1, **taught)
