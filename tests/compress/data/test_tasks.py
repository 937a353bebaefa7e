"""What is understood of a model's outputs: logits, reach, ranges of targets, compiled losses."""

from __future__ import annotations

from math import inf

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops

from edgepress.compress import finetune, load
from edgepress.compress.data import evaluate, open_data
from edgepress.compress.data.inferring.output_range import reach_of
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 4)).astype("float32")
YES = (X[:, :1] + 0.8 > 0).astype("float32")
CLASS, DRAW = np.arange(60) % 3, keras.initializers.GlorotUniform(seed=0)
INPUT = keras.Input((4,))
IMAGE = keras.Input((8, 8, 3))


def dense(size, activation=None, behind=None):
    """A model with one output, `behind` applied to its last layer; the same in each run."""
    output = layers.Dense(size, activation, True, DRAW, name="out")(INPUT)
    return keras.Model(INPUT, output if behind is None else behind(output))


def task_of(model, targets, **choices):
    return open_data(DataSpec(spec={"x": X, "y": targets}, **choices), model).task


def exponentials(values):
    grown = ops.exp(values)
    return grown / ops.sum(grown, -1, keepdims=True)


NESTED = keras.Sequential([keras.Input((4,)), layers.Dense(2), layers.Activation("sigmoid")])
REACHES = {
    "linear": (dense(2).output, (-inf, inf, "")),
    "sigmoid": (dense(2, "sigmoid").output, (0, 1, "sigmoid")),
    "softmax": (dense(3, "softmax").output, (0, 1, "softmax")),
    "hard_sigmoid": (dense(2, "hard_sigmoid").output, (0, 1, "sigmoid")),
    "tanh": (dense(2, "tanh").output, (-1, 1, "")),
    "relu": (dense(2, "relu").output, (0, inf, "")),
    "relu6": (dense(2, "relu6").output, (0, 6, "")),
    "elu": (dense(2, "elu").output, (-1, inf, "")),
    "softplus": (dense(2, "softplus").output, (0, inf, "")),
    "function": (dense(2, lambda z: 1 / (1 + ops.exp(-z))).output, (0, 1, "sigmoid")),
    "layer": (dense(3, None, layers.Softmax()).output, (0, 1, "softmax")),
    "operation": (dense(2, None, ops.sigmoid).output, (0, 1, "sigmoid")),
    "lambda": (dense(2, None, layers.Lambda(ops.sigmoid)).output, (0, 1, "sigmoid")),
    "rescaled": (dense(2, "sigmoid", layers.Rescaling(255.0)).output, (0, 255, "")),
    "normalised": (dense(2, "sigmoid", layers.BatchNormalization()).output, (-inf, inf, "")),
    "reshaped": (dense(4, "sigmoid", layers.Reshape((2, 2))).output, (0, 1, "sigmoid")),
    "one number": (dense(1, "sigmoid", lambda z: ops.squeeze(z, -1)).output, (0, 1, "sigmoid")),
    "one logit": (dense(1, None, layers.Reshape(())).output, (-inf, inf, "")),
    "nested": (NESTED(INPUT), (0, 1, "sigmoid")),
    "own softmax": (dense(3, None, exponentials).output, (-inf, inf, "softmax")),
    "pooled": (
        layers.GlobalAveragePooling2D()(layers.Conv2D(5, 1, activation="softmax")(IMAGE)),
        (0, 1, "softmax"),
    ),
    "sum": (layers.Add()([INPUT, layers.Dense(4, activation="tanh")(INPUT)]), (-inf, inf, "")),
}


@pytest.mark.parametrize("name", REACHES)
def test_reach(name):
    tensor, (low, high, squashing) = REACHES[name]
    found = reach_of(tensor)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-3)
    assert found.squashing == squashing


LOGITS = {
    "labels in floats": (dense(1), YES, {}),
    "labels in floats, loss named": (dense(1), YES, {"loss": "binary_crossentropy"}),
    "labels in whole numbers": (dense(1), YES.astype(int), {}),
    "focal": (dense(1), YES, {"loss": "binary_focal_crossentropy"}),
    "one number a sample": (dense(1, None, layers.Reshape(())), YES[:, 0], {}),
    "several labels": (dense(3), np.repeat(YES, 3, 1), {}),
    "several labels, loss named": (dense(3), np.repeat(YES, 3, 1), {"loss": "binary_crossentropy"}),
    "one-hot": (dense(3), np.eye(3, dtype="float32")[CLASS], {}),
    "one-hot, loss named": (dense(3), np.eye(3)[CLASS], {"loss": "categorical_crossentropy"}),
    "class numbers": (dense(3), CLASS, {}),
    "class numbers in floats": (
        dense(3),
        CLASS.astype("float32"),
        {"loss": "sparse_categorical_crossentropy"},
    ),
    "other activation": (dense(1, "tanh"), YES, {"loss": "binary_crossentropy"}),
}


@pytest.mark.parametrize("case", LOGITS)
def test_a_cross_entropy_on_an_output_without_squashing_is_one_on_logits(case):
    model, targets, choices = LOGITS[case]
    dataset = open_data(DataSpec(spec={"x": X, "y": targets}, **choices), model)
    task = dataset.task
    assert task.logits == (True,)
    assert task.metric == "accuracy"
    outputs = np.asarray(model(X))
    if task.kind == "classification":
        truth = targets.argmax(-1) if targets.ndim > 1 else targets
        expected, squash = (outputs.argmax(-1) == truth).mean(), ops.softmax
    else:
        expected, squash = ((outputs > 0) == (targets > 0.5)).mean(), ops.sigmoid
    assert task.score(outputs, targets) == pytest.approx(expected)
    for metric in task.keras_metrics():
        metric.update_state(targets, outputs)
        assert float(metric.result()) == pytest.approx(expected, abs=1e-6)
    # The loss is that of the probabilities.
    name = choices.get("loss", task.loss)
    wanted = keras.losses.get(name)(
        targets.reshape(len(outputs), -1), squash(outputs.reshape(60, -1))
    )
    given = task.total_loss([outputs.reshape(60, -1)], targets.reshape(60, -1))
    assert float(given) == pytest.approx(float(np.mean(wanted)), rel=1e-3)


@pytest.mark.parametrize("squash", ["sigmoid", ops.sigmoid, lambda z: 1 / (1 + ops.exp(-z))])
def test_probabilities_are_decided_at_one_half(squash):
    model = dense(1, squash) if isinstance(squash, str) else dense(1, None, squash)
    task = task_of(model, YES, loss="binary_crossentropy")
    assert task.logits == (False,)
    assert task.score(np.full((2, 1), 0.4), np.array([[0.0], [1.0]])) == 0.5


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_zeros_and_ones_learned_as_values_stay_values(loss):
    assert task_of(dense(1), YES, loss=loss).kind == "regression"
    # Asked for all the same, a decision lies halfway between what is learned.
    assert task_of(dense(1), YES.astype(int), loss=loss, metric="accuracy").logits == (False,)


def test_an_error_of_logits_is_that_of_their_probabilities():
    task = task_of(dense(1), YES, loss="binary_crossentropy", metric="mae")
    assert task.score(np.array([[0.0]]), np.array([[1.0]])) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("loss", "kind", "logits"),
    [
        ("mse", "regression", False),
        ("binary_crossentropy", "binary", True),
        ("BCE", "binary", True),
        ("MeanSquaredError", "regression", False),
        (keras.losses.BinaryCrossentropy(from_logits=True), "binary", True),
    ],
)
@pytest.mark.parametrize("ending", [None, ".keras", ".h5"])
def test_what_a_model_was_compiled_with_is_heeded(loss, kind, logits, ending, tmp_path):
    model = dense(1)
    model.compile("sgd", loss)
    if ending:
        model.save(tmp_path / f"m{ending}")
        model = load(tmp_path / f"m{ending}")
    task = task_of(model, YES)
    assert (task.kind, task.logits) == (kind, (logits,))


@pytest.mark.parametrize(
    ("names", "model", "targets"),
    [
        (("binary_crossentropy", "bce", "BCE", "BinaryCrossentropy"), dense(1), YES),
        (("kl_divergence", "kld", "KLD", "KLDivergence"), dense(3, "softmax"), np.eye(3)[CLASS]),
        (("mse", "MSE", "mean_squared_error", "MeanSquaredError"), dense(1), YES),
    ],
)
def test_every_name_of_a_loss_means_the_same(names, model, targets):
    tasks = {task_of(model, targets, loss=name) for name in names}
    assert len(tasks) == 1
    (task,) = tasks
    loss = task.total_loss([model(X)], targets.astype("float32"))
    assert loss.shape == ()
    assert np.isfinite(float(loss))


def test_a_hinge_decides_at_zero():
    model = dense(1, "tanh")
    model.compile("sgd", "hinge")
    assert task_of(model, YES * 2 - 1).logits == (True,)


def test_probabilities_said_to_be_logits_are_remarked():
    model = dense(1, "sigmoid")
    model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    dataset = open_data({"x": X, "y": YES}, model)
    assert dataset.task.logits == (False,)
    assert any("from_logits" in warning for warning in dataset.warnings)


def test_finetuning_on_logits_reports_the_true_accuracy():
    keras.utils.set_random_seed(0)
    data = {"train": (X[:40], YES[:40]), "val": (X[40:], YES[40:])}
    tuned = finetune(dense(1), data, epochs=3, lr=0.05, optimizer="adam")
    outputs = tuned.model.predict(X[40:], verbose=0)
    true = float(((outputs > 0) == (YES[40:] > 0.5)).mean())
    assert tuned.history.after == pytest.approx(true)
    assert tuned.history.epochs["val_accuracy"][tuned.history.best_epoch - 1] == pytest.approx(true)
    assert evaluate(tuned.model, open_data(data, dense(1)).val, open_data(data, dense(1)).task)


VALUES = RANDOM.uniform(0, 1, (60, 2))
OUT_OF_REACH = {
    "pixels as probabilities": ("sigmoid", VALUES * 255, None),
    "masks of 255": ("sigmoid", (VALUES > 0.9) * 255, None),
    "few pixels of a mask": ("sigmoid", (np.arange(120).reshape(60, 2) == 3) * 255.0, None),
    "softmax": ("softmax", VALUES * 100, None),
    "tanh": ("tanh", VALUES * 255, None),
    "hard sigmoid": ("hard_sigmoid", VALUES * 255, None),
    "relu below zero": ("relu", -VALUES - 0.1, None),
    "relu6": ("relu6", VALUES * 1000, None),
    "cross-entropy of pixels": ("sigmoid", VALUES * 255, "binary_crossentropy"),
    "cross-entropy of signs": ("sigmoid", np.sign(VALUES - 0.5), "binary_crossentropy"),
    "cross-entropy of pixels on logits": (None, VALUES * 255, "binary_crossentropy"),
}


@pytest.mark.parametrize("case", OUT_OF_REACH)
def test_targets_out_of_reach_are_refused(case):
    activation, targets, loss = OUT_OF_REACH[case]
    with pytest.raises(InputError, match="targets of output 'out' run from") as caught:
        task_of(dense(2, activation), targets, loss=loss)
    assert caught.value.hint


OUTLIER = np.where(np.arange(120).reshape(60, 2) == 3, 255.0, VALUES)
IN_PART = {
    "standardised under relu": ("relu", VALUES - 0.5),
    "standardised under tanh": ("tanh", RANDOM.normal(size=(60, 2))),
    "an outlier": ("sigmoid", OUTLIER),
    "signs under a sigmoid": ("sigmoid", VALUES * 2 - 1),
}


@pytest.mark.parametrize("case", IN_PART)
def test_targets_out_of_reach_in_part_are_remarked(case):
    activation, targets = IN_PART[case]
    dataset = open_data({"x": X, "y": targets}, dense(2, activation))
    assert sum("outside that range" in warning for warning in dataset.warnings) == 1


@settings(max_examples=40)
@given(
    st.sampled_from(["sigmoid", "tanh", "relu", "softplus", "linear", "elu", "relu6"]),
    st.integers(0, 999),
)
def test_what_an_output_gives_is_never_out_of_its_reach(activation, seed):
    random = np.random.default_rng(seed)
    values = random.normal(scale=10 ** random.uniform(-1, 2), size=(60, 2)).astype("float32")
    targets = np.asarray(keras.activations.get(activation)(values))
    dataset = open_data({"x": X, "y": targets}, dense(2, activation))
    assert not any("reach" in warning for warning in dataset.warnings)


ONE_HOT = np.eye(3, dtype="float32")[CLASS]


def test_smoothed_labels_of_a_softmax_are_classes():
    assert task_of(dense(3, "softmax"), 0.9 * ONE_HOT + 0.1 / 3).kind == "classification"


def test_labels_of_minus_one_and_one_are_no_targets_of_a_sigmoid():
    with pytest.raises(InputError, match=r"-1 to 1.* make the labels -1 and 1 into 0 and 1"):
        task_of(dense(1, "sigmoid"), 2 * YES - 1)
    assert task_of(dense(1, "tanh"), 2 * YES - 1).kind == "regression"


SHARES = RANDOM.random((60, 2))
COMPILED = {
    "focal": (dense(1, "sigmoid"), YES, keras.losses.BinaryFocalCrossentropy(gamma=4.0)),
    "focal on logits": (
        dense(1), YES, keras.losses.BinaryFocalCrossentropy(gamma=4.0, from_logits=True),
    ),
    "focal of classes": (
        dense(3, "softmax"), ONE_HOT, keras.losses.CategoricalFocalCrossentropy(gamma=1.0),
    ),
    "smoothed": (dense(3, "softmax"), ONE_HOT, keras.losses.CategoricalCrossentropy(False, 0.2)),
    "binary of classes": (dense(3, "sigmoid"), ONE_HOT, keras.losses.BinaryCrossentropy()),
    "values of classes": (dense(3, "softmax"), ONE_HOT, keras.losses.MeanSquaredError()),
    "huber": (dense(2), X[:, :2], keras.losses.Huber()),
    "log cosh": (dense(2), X[:, :2], keras.losses.LogCosh()),
    "absolute": (dense(2), X[:, :2], keras.losses.MeanAbsoluteError()),
    "probabilities": (dense(2, "sigmoid"), SHARES, keras.losses.BinaryCrossentropy()),
    "ignored class": (
        dense(3, "softmax"), CLASS, keras.losses.SparseCategoricalCrossentropy(ignore_class=1),
    ),
    "summed": (
        dense(3, "softmax"), CLASS, keras.losses.SparseCategoricalCrossentropy(reduction="sum"),
    ),
    "not reduced": (dense(2), X[:, :2], keras.losses.MeanSquaredError(reduction="none")),
}  # fmt: skip


@pytest.mark.parametrize("ending", [None, ".keras", ".h5"])
@pytest.mark.parametrize("case", COMPILED)
def test_the_compiled_loss_is_the_one_trained_by(case, ending, tmp_path):
    given, targets, loss = COMPILED[case]
    model = keras.models.clone_model(given)
    model.compile("sgd", loss)
    expected = float(np.sum(loss(targets, model(X))))
    if ending:
        model.save(tmp_path / f"m{ending}")
        model = load(tmp_path / f"m{ending}")
    dataset = open_data({"x": X, "y": targets}, model)
    assert float(dataset.task.total_loss([model(X)], targets)) == pytest.approx(expected, rel=1e-5)
    assert not any("in its place" in warning for warning in dataset.warnings)
    plain = open_data(DataSpec(spec={"x": X, "y": targets}, loss=dataset.task.loss), model).task
    assert plain.outputs[0].settings == ""
    if dataset.task.outputs[0].settings:
        assert float(plain.total_loss([model(X)], targets)) != pytest.approx(expected, rel=1e-3)


def test_a_setting_that_no_file_holds_is_kept_of_an_object_and_remarked_of_a_file(tmp_path):
    model = dense(2)
    model.compile("sgd", keras.losses.Huber(delta=0.1))
    assert task_of(model, X[:, :2]).outputs[0].settings == "delta=0.1"
    model.save(tmp_path / "m.keras")
    dataset = open_data({"x": X, "y": X[:, :2]}, load(tmp_path / "m.keras"))
    assert any("saves no delta" in warning for warning in dataset.warnings)


def test_a_loss_of_rows_is_taken_of_class_numbers():
    model = dense(3, "softmax")
    loss = keras.losses.CategoricalFocalCrossentropy(gamma=3.0)
    model.compile("sgd", loss)
    task = task_of(model, CLASS)
    expected = float(loss(ONE_HOT, model(X)))
    assert float(task.total_loss([model(X)], CLASS)) == pytest.approx(expected, rel=1e-5)
    assert finetune(model, {"x": X, "y": CLASS}, epochs=1).history.metric == "accuracy"


def test_a_loss_of_the_users_own_is_taken_and_named(tmp_path):
    def own_loss(targets, outputs):
        return ops.mean(ops.abs(targets - outputs) ** 3, -1)

    own_loss.__name__ = "cubic_error"  # so that Keras doesn't find it by its name
    model = dense(2)
    model.compile("sgd", own_loss)
    expected = float(np.mean(own_loss(X[:, :2], np.asarray(model(X)))))
    model.save(tmp_path / "m.keras")
    dataset = open_data({"x": X, "y": X[:, :2]}, load(tmp_path / "m.keras"))
    assert dataset.task.loss == "mse"
    assert any("cubic_error" in w and "--custom-objects" in w for w in dataset.warnings)
    known = load(tmp_path / "m.keras", custom_objects={"cubic_error": own_loss})
    for one in (model, known):
        task = task_of(one, X[:, :2])
        assert float(task.total_loss([one(X)], X[:, :2])) == pytest.approx(expected, rel=1e-5)
        assert "cubic_error" in task.text()


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_a_loss_of_the_users_own_that_is_no_mean_is_summed_up(reduction):
    class Cubic(keras.losses.Loss):
        def call(self, targets, outputs):
            return ops.mean(ops.abs(targets - outputs) ** 3, -1)

    model = dense(2)
    model.compile("sgd", Cubic(reduction=reduction))
    task = task_of(model, X[:, :2])
    expected = float(np.sum(Cubic(reduction="none")(X[:, :2], model(X))))
    assert float(task.total_loss([model(X)], X[:, :2])) == pytest.approx(expected, rel=1e-5)
    assert "summed up" in task.text()


def test_a_summed_loss_takes_steps_as_long_as_its_batches():
    model, data = dense(3, "softmax"), {"train": (X, CLASS), "val": (X, CLASS)}

    def step(reduction):
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(reduction=reduction))
        tuned = finetune(model, data, epochs=1, batch_size=len(X), optimizer="sgd", lr=1e-4).model
        return tuned.get_weights()[0] - model.get_weights()[0]

    assert step("sum") == pytest.approx(len(X) * step("mean"), rel=1e-2, abs=5e-6)


@pytest.mark.parametrize(
    ("weight", "bias", "logits"),
    [(6.0, 0.0, True), (0.0, 0.4, False), (0.4, 0.5, False)],
    ids=["far outside", "within", "learned as values"],
)
def test_a_word_on_logits_that_the_outputs_refute_is_not_taken(weight, bias, logits):
    model = dense(1)
    kernel = np.zeros((4, 1), "float32")
    kernel[0] = weight
    model.set_weights([kernel, np.array([bias], "float32")])
    model.compile("sgd", keras.losses.BinaryCrossentropy())
    dataset = open_data({"x": X, "y": (X[:, :1] > 0) * 1.0}, model)
    assert dataset.task.logits == (logits,)
    (said,) = [w for w in dataset.warnings if "from_logits=False" in w]
    assert said.endswith("taken as logits" if logits else "taken as probabilities")
