"""Each output has its figures: compiled losses decide which count, and scales are not mixed."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from edgepress.compress import finetune, prune
from edgepress.compress.data import figures, open_data
from edgepress.compress.data.metrics import fallen, worst_drop
from edgepress.compress.data.output_task import OutputTask
from edgepress.compress.data.tasks import Task
from edgepress.compress.kernel.figures import OutputMetric
from edgepress.deploy import benchmark, export, verify

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(80, 6)).astype("float32")
SMALL, LARGE = X[:, :1] * 0.5, X[:, 1:2] * 1000 + 2000
KIND = (X[:, 2] > 0).astype("int64")
TARGETS = {"kind": KIND, "small": SMALL, "large": LARGE}
TASK = {"kind": "accuracy", "small": "mae", "large": "mae"}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,), name="x")
    hidden = layers.Dense(8, activation="relu")(inputs)
    # Not in the order of their names, which some converters put them into.
    return keras.Model(
        inputs,
        [
            layers.Dense(1, name="small")(hidden),
            layers.Dense(2, activation="softmax", name="kind")(hidden),
            layers.Dense(1, name="large")(hidden),
        ],
    )


def data(names=TASK):
    targets = {name: TARGETS[name] for name in names}
    return {
        split: tf.data.Dataset.from_tensor_slices(
            (X[rows], {n: t[rows] for n, t in targets.items()})
        )
        for split, rows in (("train", slice(0, 40)), ("test", slice(40, 80)))
    }


def true_values(model, rows=slice(40, 80)):
    outputs = dict(zip(model.output_names, model.predict(X[rows], verbose=0), strict=True))
    return {
        "small": float(np.abs(outputs["small"] - SMALL[rows]).mean()),
        "kind": float((outputs["kind"].argmax(1) == KIND[rows]).mean()),
        "large": float(np.abs(outputs["large"] - LARGE[rows]).mean()),
    }


def check(rows, model, source=None):
    """Rows are the true figures of a model, beside those of another."""
    assert {row.output: row.metric for row in rows} == TASK
    for row in rows:
        assert row.value == pytest.approx(true_values(model)[row.output], rel=1e-3)
        if source is not None:
            expected = true_values(source)[row.output]
            assert row.source_value == pytest.approx(expected, rel=1e-3)
    assert [row.output for row in rows if row.headline] == ["small"]


def test_each_output_has_its_own_metric_everywhere(model, tmp_path):
    dataset = open_data(data(), model)
    check(figures(model, dataset.report_split, dataset.task), model)
    exported = export(model, tmp_path / "out", formats=["tflite", "onnx"], data=dataset)
    for artifact in exported:
        check(artifact.verified.metrics, model, model)
        again = verify(model, artifact, dataset)
        check(again.metrics, model, model)
        assert again.value == pytest.approx(true_values(model)["small"], rel=1e-3)
        assert type(again).from_json(json.loads(json.dumps(again.to_json()))) == again
    one = benchmark(exported.artifacts[0].path, runs=1, launches=1, max_seconds=1)
    assert len(one.measurements) == 1
    found = benchmark(exported, runs=1, launches=1, max_seconds=1, data=dataset)
    for row in found.measurements:
        check(row.metrics, model)
        assert row.to_json()["metrics"][0]["output"] == "small"


def test_training_and_pruning_say_before_and_after_by_output(model):
    dataset = open_data(data(), model)
    tuned = finetune(model, dataset, epochs=1, lr=1e-4)
    check(tuned.history.metrics, tuned.model, model)
    assert tuned.to_json()["metrics"] == [vars(row) for row in tuned.history.metrics]
    pruned = prune(model, dataset, structure="channels", sparsity=0.3)
    check(pruned.metrics, pruned.model, model)
    assert pruned.to_json()["metrics"][0].keys() >= {"output", "metric", "value", "source_value"}


@pytest.mark.parametrize("names", [("kind", "large"), ("kind",)])
def test_an_output_without_a_loss_is_neither_scored_nor_trained(model, names):
    given = keras.models.clone_model(model)
    given.set_weights(model.get_weights())
    losses = {"kind": "sparse_categorical_crossentropy", "large": "mse"}
    given.compile("sgd", {name: losses[name] for name in names})
    dataset = open_data(data(names), given)
    assert dataset.task.metric == "accuracy"
    rows = figures(given, dataset.report_split, dataset.task)
    assert [row.output for row in rows] == list(names)
    assert any("'small' has no loss" in warning for warning in dataset.warnings)
    tuned = finetune(given, dataset, epochs=1, lr=1e-3)
    before, after = (m.get_layer("small").get_weights() for m in (given, tuned.model))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_compiled_weights_count_in_training(model):
    given = keras.models.clone_model(model)
    given.compile(
        "sgd",
        {"small": "mse", "kind": "sparse_categorical_crossentropy", "large": "mse"},
        loss_weights={"small": 2.0, "kind": 0.5, "large": 0.0},
    )
    task = open_data(data(), given).task
    outputs = [tf.constant(o) for o in given.predict(X, verbose=0)]
    losses = [
        keras.losses.MeanSquaredError()(SMALL, outputs[0]),
        keras.losses.SparseCategoricalCrossentropy()(KIND, outputs[1]),
    ]
    expected = 2 * float(losses[0]) + 0.5 * float(losses[1])
    assert float(task.total_loss(outputs, TARGETS)) == pytest.approx(expected, rel=1e-5)
    assert "large" not in [
        row.output for row in task.figures([o.numpy() for o in outputs], TARGETS)
    ]


def test_only_scores_without_a_unit_have_a_mean():
    def task(metric):
        return Task(tuple(OutputTask(n, "regression", "mse", metric) for n in ("a", "b")))

    outputs = [np.array([[1.0], [2.0]]), np.array([[1000.0], [3000.0]])]
    targets = {"a": np.array([[0.0], [0.0]]), "b": np.array([[0.0], [0.0]])}
    assert task("mae").score(outputs, targets) == 1.5
    both = Task(
        (
            OutputTask("a", "binary", "binary_crossentropy", "accuracy"),
            OutputTask("b", "binary", "binary_crossentropy", "accuracy"),
        )
    )
    assert both.score(outputs, {"a": np.ones((2, 1)), "b": np.zeros((2, 1))}) == 0.5


@pytest.mark.parametrize(
    ("metric", "before", "after", "falls"),
    [
        ("accuracy", 0.9, 0.88, False),
        ("accuracy", 0.9, 0.8, True),
        ("mae", 1000.0, 1040.0, False),
        ("mae", 1000.0, 1060.0, True),
        ("mae", 0.001, 0.0011, True),
        ("mae", 0.001, float("nan"), True),
        ("accuracy", 0.9, None, True),
    ],
)
def test_a_fall_is_one_of_any_output_in_its_own_unit(metric, before, after, falls):
    steady = OutputMetric("steady", "accuracy", 0.9, 0.9)
    row = OutputMetric("other", metric, after, before, headline=False)
    assert fallen([steady, row], 0.05) == ([row] if falls else [])
    assert (worst_drop([steady, row]) > 0.05) == falls


def _states():
    """A layer that gives all steps and its two states, the last state first."""
    series = keras.Input((6, 4), name="series")
    steps, hidden, carried = layers.LSTM(3, return_sequences=True, return_state=True, name="of")(
        series
    )
    return keras.Model(series, [carried, steps, hidden])


def _shared_head():
    """One layer called on two tensors."""
    series = keras.Input((6, 4), name="series")
    head = layers.Dense(3, name="of")
    first, last = layers.Dense(5)(series), layers.Dense(5)(series)
    return keras.Model(series, [head(last), head(first[:, 0]), head(first)])


@pytest.mark.parametrize("build", [_states, _shared_head])
def test_outputs_of_one_layer_are_paired_with_their_own_targets(build, tmp_path, worker):
    keras.utils.set_random_seed(0)
    model = build()
    series = RANDOM.normal(size=(64, 6, 4)).astype("float32")
    targets = model.predict(series, verbose=0)
    names = ("of", "of_1", "of_2")
    for given in (targets, dict(zip(names, targets, strict=True))):
        dataset = open_data({"train": (series, given), "val": (series, given)}, model, 0)
        assert dataset.task.output_names == names
        assert all(m.value < 1e-5 for m in figures(model, dataset.val, dataset.task))
    pair = {"train": (series, targets), "val": (series, targets)}
    result = export(model, tmp_path / "out", ("tflite", "onnx"), ("float32",), pair, worker=worker)
    assert len(result.artifacts) == 2, (result.skipped, result.failed)
    for artifact in result.artifacts:
        assert [o.name for o in artifact.verified.outputs] == list(names)
