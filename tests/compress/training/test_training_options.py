"""Options of a training: what each changes, and that it survives an interruption to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from variants import mostly_slow

from edgepress import compress
from edgepress.compress.data import open_data
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import FinetuneSpec, TrainSpec
from edgepress.compress.training import fit
from edgepress.compress.training.loop.class_weights import class_weights
from edgepress.compress.training.loop.weight_updates import block_factors
from edgepress.compress.training.teacher.feature_matching import feature_loss

OPTIONS: dict[str, dict[str, Any]] = {
    "average and accumulation": {"ema": 0.9, "accumulate": 3, "clipnorm": 1.0},
    "clip by value": {"clipvalue": 0.01},
    "class weights": {"class_weights": "balanced"},
    "bfloat16": {"compute": "bfloat16"},
    "found rate": {"lr": "auto"},
    "slower blocks": {"lr_decay_per_block": 0.5, "optimizer": "nesterov"},
}


@pytest.fixture
def model(networks: Any) -> Any:
    return networks.seeded(networks.classifier)


@pytest.fixture(scope="module")
def data(networks: Any) -> dict[str, Any]:
    arrays: dict[str, Any] = networks.classes()
    return arrays


class Interrupt(keras.callbacks.Callback):
    """Raises in the middle of an epoch, as Ctrl-C would."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self._wanted = epoch
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        del logs
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        del logs
        if self._epoch == self._wanted and batch == 1:
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", mostly_slow(OPTIONS, "average and accumulation"))
def test_each_option_trains_saves_plainly_and_resumes_to_the_bit(
    name: str, model: Any, data: Any, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 16, "lr": 1e-2, **OPTIONS[name]}
    straight = compress.finetune(model, data, **settings)
    assert straight.history.epochs["loss"][-1] < straight.history.epochs["loss"][0]

    with pytest.raises(compress.errors.Stopped):
        compress.finetune(
            model, data, state_dir=tmp_path / "state", callbacks=[Interrupt(2)], **settings
        )
    resumed = compress.finetune(model, data, state_dir=tmp_path / "state", **settings)
    for one, other in zip(straight.model.weights, resumed.model.weights, strict=True):
        assert one.numpy().tobytes() == other.numpy().tobytes()

    straight.model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert {str(layer.dtype_policy.name) for layer in loaded.layers} == {"float32"}
    x = data["x"][:8]
    np.testing.assert_array_equal(
        loaded.predict(x, verbose=0), straight.model.predict(x, verbose=0)
    )


def trained(model: Any, data: Any, factors: Any = None, **options: Any) -> Any:
    """A copy after one epoch in the same order of samples."""
    copy = compress.finetune(model, data, epochs=0).model
    chosen = {} if factors is None else factors(copy)
    spec = TrainSpec(**{"epochs": 1, "batch_size": 16, "restore_best": False, **options})
    fit(copy, open_data(data, copy), spec, factors=chosen)
    return copy


@pytest.mark.parametrize("optimizer", mostly_slow(["sgd", "adamw", "rmsprop", "lion"], "adamw"))
def test_a_slower_weight_changes_by_its_share(optimizer: str, model: Any, data: Any) -> None:
    """With one step of any optimizer the change is the factor times that of the full rate."""
    one_step = {"x": data["x"][:20], "y": data["y"][:20]}

    def half(copy: Any) -> dict[int, float]:
        return {id(v): 0.25 for v in copy.layers[1].trainable_variables}

    options = {"optimizer": optimizer, "weight_decay": 0.1, "lr": 1e-2}
    full = trained(model, one_step, **options)
    slow = trained(model, one_step, half, **options)
    start = model.layers[1].kernel.numpy()
    change = full.layers[1].kernel.numpy() - start
    np.testing.assert_allclose(
        slow.layers[1].kernel.numpy() - start, 0.25 * change, rtol=1e-4, atol=1e-7
    )
    np.testing.assert_allclose(slow.layers[-1].kernel, full.layers[-1].kernel, atol=1e-6)


def test_rates_fall_from_the_head_to_the_first_block(model: Any) -> None:
    factors = block_factors(model, 0.5)
    by_layer = [
        {factors[id(v)] for v in layer.trainable_variables}
        for layer in model._flatten_layers(include_self=False)
        if layer.trainable_variables and not isinstance(layer, keras.Model)
    ]
    assert all(len(found) == 1 for found in by_layer)
    values = [found.pop() for found in by_layer]
    assert max(values) == 1.0
    assert values[0] == min(values) < 1.0
    assert {v.path for v in model.trainable_variables if id(v) not in factors} == set()


def test_accumulated_steps_equal_a_larger_batch(networks: Any) -> None:
    """Two steps of 8 samples are one of 16, where no layer looks across the batch."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    random = np.random.default_rng(0)
    x = random.normal(size=(16, 4)).astype("float32")
    y = random.integers(0, 3, 16)
    data = {"train": (x, y), "val": (x, y)}
    options = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.0}
    large = trained(model, data, batch_size=16, **options)
    small = trained(model, data, batch_size=8, accumulate=2, **options)
    np.testing.assert_allclose(small.get_weights()[0], large.get_weights()[0], atol=1e-6)


def test_balanced_weights_make_classes_count_alike(model: Any, networks: Any) -> None:
    data = networks.classes(90)
    rare = np.flatnonzero(data["y"] == 0)[5:]
    kept = np.setdiff1d(np.arange(90), rare)
    dataset = open_data({"x": data["x"][kept], "y": data["y"][kept]}, model)
    weights = class_weights("balanced", model, dataset)
    labels = dataset.training_split.source.labels()
    assert labels is not None
    sums = np.bincount(labels, minlength=3) * weights
    np.testing.assert_allclose(sums, len(labels) / 3)
    assert class_weights("auto", model, dataset) == weights
    assert class_weights("2=4.5", model, dataset) == (1.0, 1.0, 4.5)
    assert class_weights("none", model, dataset) == ()


def test_a_class_that_counts_nothing_is_not_learned(model: Any, data: Any) -> None:
    dataset = open_data({"train": (data["x"], data["y"]), "val": (data["x"], data["y"])}, model)
    copy = compress.finetune(model, dataset, epochs=6, lr=1e-2, class_weights={1: 0}).model
    guesses = copy.predict(data["x"], verbose=0).argmax(1)
    assert (guesses == 1).mean() < (guesses == 0).mean()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"class_weights": "9=2"}, "no class '9'"),
        ({"class_weights": "0=-1"}, "not a weight of 0 or more"),
        ({"class_weights": "often"}, "class-weights"),
        ({"lr": 0}, "above 0, or auto"),
        ({"lr": "fast"}, "--lr"),
        ({"clipnorm": 1, "clipvalue": 1}, "one of clipnorm and clipvalue"),
        ({"accumulate": 1000, "epochs": 1}, "no weight would ever be updated"),
        ({"distill_layers": ["conv1"]}, "needs a teacher"),
        ({"callbacks": ["nothing.py:Thing"]}, "does not exist"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    options: dict[str, Any], words: str, model: Any, data: Any
) -> None:
    with pytest.raises(InputError, match=words) as raised:
        compress.finetune(model, data, **options)
    assert "\n" not in str(raised.value)


def test_a_recipe_keeps_auto() -> None:
    spec = FinetuneSpec(lr="auto")
    assert spec.model_dump(mode="json")["lr"] == "auto"
    assert FinetuneSpec(**spec.model_dump(mode="json")) == spec


def test_features_of_any_width_are_matched(networks: Any) -> None:
    random = np.random.default_rng(0)
    for shape, other in (((6, 4, 4, 3), (6, 4, 4, 5)), ((6, 8), (6, 3)), ((6, 4, 4, 3),) * 2):
        a = tf.constant(random.normal(size=shape).astype("float32"))
        b = tf.constant(random.normal(size=other).astype("float32"))
        assert float(feature_loss([a], [b])) > 0
        assert float(feature_loss([a], [a])) == 0


def test_matching_named_layers_brings_them_together(model: Any, data: Any, networks: Any) -> None:
    keras.utils.set_random_seed(11)
    teacher = networks.classifier()

    def distance(student: Any) -> float:
        taps = [keras.Model(m.inputs, m.get_layer("pool").output) for m in (student, teacher)]
        outputs = [tap(data["x"], training=False) for tap in taps]
        return float(feature_loss(outputs[:1], outputs[1:]))

    options: dict[str, Any] = {"teacher": teacher, "epochs": 6, "lr": 1e-2, "batch_size": 16}
    plain = compress.finetune(model, data, **options)
    matched = compress.finetune(
        model, data, distill_layers=["pool", "block/relu2"], distill_layers_weight=10, **options
    )
    assert distance(matched.model) < 0.8 * distance(plain.model)
    assert "call" not in matched.model.get_layer("pool").__dict__
    with pytest.raises(InputError, match="the teacher has no layer 'poool'"):
        compress.finetune(model, data, distill_layers=["pool=poool"], **options)


def test_logs_of_a_resumed_training_are_whole(model: Any, data: Any, tmp_path: Path) -> None:
    table, events = tmp_path / "log.csv", tmp_path / "events"
    options: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 16,
        "log_csv": str(table),
        "log_tensorboard": str(events),
        "state_dir": tmp_path / "state",
    }
    with pytest.raises(compress.errors.Stopped):
        compress.finetune(model, data, callbacks=[Interrupt(1)], **options)
    history = compress.finetune(model, data, **options).history.epochs
    rows = np.genfromtxt(table, delimiter=",", names=True)
    np.testing.assert_array_equal(rows["epoch"], [1, 2, 3])
    np.testing.assert_allclose(rows["val_loss"], history["val_loss"])
    found = {
        (event.step, value.tag): value.simple_value
        for file in sorted(events.iterdir())
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    }
    assert found[3, "loss"] == pytest.approx(history["loss"][2], rel=1e-6)
    assert {step for step, _ in found} == {1, 2, 3}


def test_a_callback_from_a_users_file(model: Any, data: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import keras\n"
        "class Stop(keras.callbacks.Callback):\n"
        "    def on_epoch_end(self, epoch, logs=None):\n"
        "        self.model.stop_training = epoch == 1\n"
        "ready = Stop()\n"
        "number = 3\n"
    )
    for name in ("Stop", "ready"):
        result = compress.finetune(model, data, epochs=5, callbacks=[f"{file}:{name}"])
        assert len(result.history.epochs["loss"]) == 2
    with pytest.raises(InputError, match="not a Keras callback"):
        compress.finetune(model, data, epochs=1, callbacks=[f"{file}:number"])


class Noise(keras.layers.Layer):
    """Draws from TensorFlow's own state, not from a generator that is a variable."""

    def call(self, x: Any, training: bool = False) -> Any:
        return x + tf.random.normal(tf.shape(x)) if training else x


@pytest.mark.slow
def test_layers_that_draw_statefully_resume_to_the_bit(data: Any, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(Noise()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    options: dict[str, Any] = {"epochs": 3, "batch_size": 16, "lr": 1e-2}
    straight = compress.finetune(model, data, **options)
    with pytest.raises(compress.errors.Stopped):
        compress.finetune(model, data, state_dir=tmp_path, callbacks=[Interrupt(2)], **options)
    resumed = compress.finetune(model, data, state_dir=tmp_path, **options)
    for one, other in zip(straight.model.weights, resumed.model.weights, strict=True):
        assert one.numpy().tobytes() == other.numpy().tobytes()
    assert straight.history.epochs["loss"] == resumed.history.epochs["loss"]
