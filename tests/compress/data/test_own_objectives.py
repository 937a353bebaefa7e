"""Losses and metrics of the user's own, and targets that mean something to a loss alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgepress.compress import finetune
from edgepress.compress.data import open_data
from edgepress.compress.data.metrics import metric_of
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 4)).astype("float32")
CLASS = np.arange(60) % 3
INPUT = keras.Input((4,))
CODE = """
import keras
def loss(y, p): return keras.losses.sparse_categorical_crossentropy(y, p)
def hits(y, p): return (p.argmax(-1) == y).mean()
def hit(y, p): return p.argmax(-1) == y
def my_error(y, p): return 1 - hits(y, p)
def cost(y, p): return 2.0
cost.higher_is_better = True
def pairs(y, p): return keras.ops.mean(p, -1) * y[:, 0, 0]
def whole(y, p): return keras.ops.sum(keras.ops.one_hot(y, 3) * p)
def broken(y, p): raise ValueError("never mind")
def words(y, p): return "good"
def gap(y, p): return float("nan")
def several(y, p): return [1.0, 0.5, 0.0]
def constant(y, p): return keras.ops.ones(3)
def text(y, p): return "x"
def gaps(y, p): return [1.0, float("inf"), 0.0]
class Own(keras.losses.Loss):
    def call(self, y, p): return keras.ops.mean((y - p[:, :1]) ** 2, -1)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)


def softmax(size=3, name="out"):
    return keras.Model(INPUT, layers.Dense(size, activation="softmax", name=name)(INPUT))


def task_of(model, targets, **choices):
    return open_data(DataSpec(spec={"x": X, "y": targets}, **choices), model).task


def test_a_metric_from_a_file_scores_everything(mine):
    model = softmax()
    outputs = np.asarray(model(X))
    expected = (outputs.argmax(-1) == CLASS).mean()
    for name in ("hits", "hit"):
        task = task_of(model, CLASS, metric=f"mine.py:{name}")
        assert task.metric == f"mine.py:{name}"
        assert task.higher_is_better
        assert task.score(outputs, CLASS) == pytest.approx(expected)
    tuned = finetune(model, DataSpec(spec={"x": X, "y": CLASS}, metric="mine.py:hits"), epochs=1)
    assert tuned.history.metric == "mine.py:hits"
    assert "val_mine.py:hits" in tuned.history.epochs


@pytest.mark.parametrize(
    ("name", "higher"),
    [("hits", True), ("my_error", False), ("cost", True), ("loss", False)],
)
def test_the_direction_of_a_metric_from_a_file(name, higher, mine):
    assert metric_of(f"mine.py:{name}").higher_is_better is higher


@pytest.mark.parametrize("name", ["broken", "words", "missing"])
def test_a_metric_that_fails_is_one_line(name, mine):
    with pytest.raises(InputError, match=name if name == "missing" else f"mine.py.*|{name}"):
        task_of(softmax(), CLASS, metric=f"mine.py:{name}").score(np.eye(3)[CLASS], CLASS)


@pytest.mark.parametrize(("name", "value"), [("gap", "nan"), ("gaps", "inf")])
def test_a_metric_without_a_value_is_one_line(name, value, mine):
    with pytest.raises(InputError, match=f"'mine.py:{name}' returns {value} of 60 samples"):
        task_of(softmax(), CLASS, metric=f"mine.py:{name}").score(np.eye(3)[CLASS], CLASS)


def test_a_metric_of_neither_one_value_nor_one_a_sample_is_refused(mine):
    with pytest.raises(InputError, match=r"returns \(3,\) values of 60 samples"):
        task_of(softmax(), CLASS, metric="mine.py:several").score(np.eye(3)[CLASS], CLASS)


@pytest.mark.parametrize("loss", ["loss", "whole"])
def test_a_loss_from_a_file_trains_what_targets_say(loss, mine):
    model = softmax()
    task = task_of(model, CLASS, loss=f"mine.py:{loss}")
    assert (task.kind, task.metric) == ("classification", "accuracy")
    assert f"mine.py:{loss}" in task.text()
    tuned = finetune(model, DataSpec(spec={"x": X, "y": CLASS}, loss=f"mine.py:{loss}"), epochs=1)
    assert np.isfinite(tuned.history.epochs["loss"]).all()
    assert not np.allclose(tuned.model.get_weights()[0], model.get_weights()[0])


def test_a_loss_from_a_file_that_is_keras_own_class(mine):
    task = task_of(softmax(), X[:, :1], loss="mine.py:Own")
    assert (task.kind, task.metric) == ("own", "loss")
    expected = task.outputs[0].keras_loss()(np.ones((2, 1)), np.full((2, 3), 0.5))
    assert task.score(np.full((2, 3), 0.5), np.ones((2, 1))) == pytest.approx(float(expected))


def test_targets_of_another_shape_go_to_the_loss_alone(mine):
    model, boxes = softmax(), RANDOM.normal(size=(60, 2, 4)).astype("float32")
    spec = DataSpec(spec={"x": X, "y": boxes}, loss="mine.py:pairs")
    task = open_data(spec, model).task
    assert (task.kind, task.metric, task.higher_is_better) == ("own", "loss", False)
    tuned = finetune(model, spec, epochs=2)
    assert tuned.history.metric == "loss"
    assert tuned.history.after < tuned.history.before
    with pytest.raises(InputError, match="mean something to its loss alone"):
        task_of(model, boxes, loss="mine.py:pairs", metric="f1")


def test_labels_of_an_embedding_are_no_classes_of_its_values(mine):
    model = keras.Model(INPUT, layers.Dense(8, name="out")(INPUT))
    model.compile("sgd", keras.losses.Circle())
    assert task_of(model, CLASS).kind == "own"
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert task_of(model, CLASS).kind == "classification"


def test_a_loss_that_fails_on_the_targets_is_one_line(mine):
    with pytest.raises(InputError, match="never mind"):
        task_of(softmax(), CLASS, loss="mine.py:broken")
    with pytest.raises(InputError, match="nothing named"):
        task_of(softmax(), CLASS, loss="mine.py:nothing")
    with pytest.raises(InputError, match="doesn't depend on the outputs"):
        task_of(softmax(), CLASS, loss="mine.py:constant")
    with pytest.raises(InputError, match=r"'mine\.py:text' fails on targets") as error:
        task_of(softmax(), CLASS, loss="mine.py:text")
    assert "{{" not in error.value.message


def ctc():
    steps = keras.Input((6, 4))
    model = keras.Model(steps, layers.Dense(5)(steps))
    model.compile("adam", keras.losses.CTC())
    x = RANDOM.random((40, 6, 4)).astype("float32")
    return model, x, RANDOM.integers(1, 5, (40, 2))


def test_ctc_is_trained_and_scored_by_its_error_rate():
    model, x, y = ctc()
    task = open_data((x, y), model).task
    assert (task.kind, task.loss, task.metric) == ("own", "ctc", "cer")
    tuned = finetune(model, (x, y), epochs=1, lr=1e-2)
    assert tuned.history.metric == "cer"
    assert len(tuned.history.epochs["val_cer"]) == 1


def test_without_labels_such_targets_are_never_looked_at():
    model, x, y = ctc()
    data = {"x_train": x, "x_test": x[:9], "y_test": y[:9]}
    dataset = open_data(DataSpec(spec=data, unlabelled=True), model)
    assert dataset.task.kind == "regression"
    assert "agrees with its teacher" in " ".join(dataset.warnings)
    assert "labels are used" not in " ".join(dataset.warnings)
    targets = next(dataset.test.in_order(9).as_numpy_iterator())[1]
    np.testing.assert_allclose(targets, np.asarray(model(x[:9])), atol=1e-5)


TWO = keras.Model(
    INPUT,
    [
        layers.Dense(3, activation="softmax", name="kind")(INPUT),
        layers.Dense(1, name="size")(INPUT),
    ],
)
BOTH = {"x": X, "y__kind": CLASS, "y__size": X[:, :1]}


def test_loss_metric_and_weight_by_output(mine):
    spec = DataSpec(
        spec=BOTH,
        loss=("kind=mine.py:loss", "size=huber"),
        metric={"size": "mape", "kind": "balanced-accuracy"},
        loss_weight="kind=2,size=0.5",
    )
    task = open_data(spec, TWO).task
    assert "mine.py:loss" in task.outputs[0].text()
    assert task.outputs[1].loss == "huber"
    assert [o.metric for o in task.outputs] == ["balanced_accuracy", "mape"]
    assert [o.weight for o in task.outputs] == [2.0, 0.5]
    assert task.metric == "mape"
    assert [o.name for o in task.headline] == ["size"]
    outputs = [o.numpy() for o in TWO(X)]
    one = keras.losses.SparseCategoricalCrossentropy()(CLASS, outputs[0])
    two = keras.losses.Huber()(X[:, :1], outputs[1])
    total = task.total_loss(outputs, {"kind": CLASS, "size": X[:, :1]})
    assert float(total) == pytest.approx(2 * float(one) + 0.5 * float(two), rel=1e-5)


@pytest.mark.parametrize(
    "choices",
    [
        {"loss": {"sise": "mse"}},
        {"loss": ("mse", "mae")},
        {"loss_weight": ("size=-1",)},
        {"loss_weight": ("2",)},
        {"metric": {"size": "f1"}},
        {"loss_weight": {"size": 0, "kind": 0}},
        {"loss_weight": {"size": 0}, "metric": {"size": "mae"}},
    ],
)
def test_what_no_output_can_have_is_refused(choices):
    with pytest.raises(InputError):
        open_data(DataSpec(spec=BOTH, **choices), TWO)


def test_rare_labels_and_masks_of_one_class_have_a_metric_that_tells():
    rare = np.zeros((60, 5), "float32")
    rare[::9, 1] = rare[::10, 3] = 1
    dataset = open_data({"x": X, "y": rare}, keras.Model(INPUT, layers.Dense(5, "sigmoid")(INPUT)))
    assert dataset.task.metric == "f1"
    assert any("one answer everywhere" in w and "f1" in w for w in dataset.warnings)
    zeros = np.zeros_like(rare)
    assert dataset.task.score(zeros, rare) == 0.0
    assert open_data({"x": X, "y": rare[:, :]}, softmax(5)).task.metric == "f1"


def test_ranks_need_samples_of_both_sides():
    model = keras.Model(INPUT, layers.Dense(1, "sigmoid")(INPUT))
    yes = (X[:, :1] > 0).astype(int)
    data = {"x_train": X, "y_train": yes, "x_test": X[:5], "y_test": np.ones((5, 1), int)}
    with pytest.raises(InputError, match=r"auc.*test split.*one class"):
        open_data(DataSpec(spec=data, metric="auc"), model)


def test_a_class_by_its_name(tmp_path):
    names = np.array(["cat", "dog", "emu"])
    task = task_of(softmax(), names[CLASS], metric="f1:emu")
    assert task.metric == "f1:2"
