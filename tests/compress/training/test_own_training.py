"""A model's own loss is used wherever it is trained; a step of its own is refused by name."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from variants import mostly_slow

from edgepress import compress
from edgepress.compress.errors import InputError
from edgepress.compress.models.rebuilding.flatten import flatten

QUICK = {"epochs": 1, "batch_size": 16}
CALLS: list[tuple[str, str]] = []


class Plain(keras.Model):
    """Of Keras's own constructor, so that Keras's copies keep the class."""

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: Any) -> Any:
        CALLS.append((self.name, "training" if training else "validation"))
        return super().compute_loss(x, y, y_pred, sample_weight, training)


class Scaled(keras.Model):
    """With a constructor of its own, and a loss of attributes and of a layer of the graph."""

    def __init__(self, width: int) -> None:
        inputs = keras.Input((4,))
        hidden = layers.Dense(width, activation="relu", name="hidden")
        super().__init__(inputs, layers.Dense(3, activation="softmax")(hidden(inputs)))
        self.factor = 2.0
        self.first = hidden

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None
    ) -> Any:
        CALLS.append((self.name, self.first.path))
        loss = ops.mean(keras.losses.sparse_categorical_crossentropy(y, y_pred))
        return self.factor * loss + 0.0 * ops.sum(ops.square(self.first.kernel))


class Listed(keras.Sequential):
    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        CALLS.append((self.name, "training"))
        return super().compute_loss(*args, **kwargs)


class Stepping(keras.Model):
    def train_step(self, data: Any) -> Any:
        return super().train_step(data)


def _stack() -> tuple[Any, Any]:
    inputs = keras.Input((4,))
    hidden = layers.Dense(8, activation="relu", name="hidden")(inputs)
    return inputs, layers.Dense(3, activation="softmax")(hidden)


def _plain() -> Any:
    return Plain(*_stack())


def _listed() -> Any:
    return Listed([keras.Input((4,)), layers.Dense(8), layers.Dense(3, activation="softmax")])


def _stepping() -> Any:
    return Stepping(*_stack())


@pytest.fixture
def data() -> dict[str, Any]:
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 64)
    x = random.normal(size=(64, 4)).astype("float32")
    x[np.arange(64), y] += 3
    return {"x_train": x[:48], "y_train": y[:48], "x_val": x[48:], "y_val": y[48:]}


@pytest.fixture(autouse=True)
def calls() -> list[tuple[str, str]]:
    CALLS.clear()
    return CALLS


def _scaled() -> Any:
    return Scaled(8)


@pytest.mark.parametrize(
    ("make", "compiled"),
    mostly_slow(
        itertools.product([_plain, _scaled, _listed], [True, False]),
        (_plain, True),
        (_scaled, False),
        (_listed, False),
    ),
)
def test_finetune_takes_the_loss_of_the_class(make: Any, compiled: bool, data: Any) -> None:
    model = make()
    if compiled:
        model.compile("adam", "sparse_categorical_crossentropy")
    result = compress.finetune(model, data, **QUICK)
    assert CALLS
    kind = type(result.model)
    assert kind in (type(model), keras.Sequential) or kind.__name__ == "Functional"
    assert not hasattr(result.model, "factor") or kind is type(model)


def test_the_loss_is_the_class_s_own(data: Any) -> None:
    keras.utils.set_random_seed(0)
    model = Scaled(8)
    plain = keras.Model(model.inputs, model.outputs)
    options = {**QUICK, "optimizer": "sgd", "lr": 1e-9}
    own, usual = (compress.finetune(m, data, **options) for m in (model, plain))
    for name in ("loss", "val_loss"):
        assert own.history.epochs[name][0] == pytest.approx(
            2 * usual.history.epochs[name][0], rel=1e-4
        )


def test_a_layer_that_the_loss_uses_is_the_copy_s(data: Any) -> None:
    class Shrinking(Scaled):
        def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
            return ops.sum(ops.square(self.first.kernel))

    model = Shrinking(8)
    size = float(np.square(model.first.kernel).sum())
    result = compress.finetune(model, data, epochs=5, lr=0.1, restore_best=False)
    small = float(np.square(result.model.get_layer("hidden").kernel).sum())
    assert small < 0.5 * size
    assert float(np.square(model.first.kernel).sum()) == size


@pytest.mark.parametrize(
    ("make", "structure"),
    [
        (_plain, "channels"),
        (lambda: Scaled(8), "weights"),
        pytest.param(_plain, "weights", marks=pytest.mark.slow),
        pytest.param(lambda: Scaled(8), "channels", marks=pytest.mark.slow),
    ],
)
def test_recovery_takes_it_too(make: Any, structure: str, data: Any) -> None:
    options = {"sparsity": 0.25, "structure": structure, "recover_epochs": 1}
    small = compress.prune(make(), data, **options).model
    assert CALLS
    CALLS.clear()
    compress.finetune(small, data, **QUICK)
    assert CALLS


@pytest.mark.slow
def test_the_range_test_and_the_search_take_it(data: Any) -> None:
    compress.lr_find(_plain(), data, steps=10, batch_size=16)
    assert CALLS
    CALLS.clear()
    compress.unfreeze_search(_plain(), data, **QUICK)
    assert CALLS


@pytest.mark.slow
def test_training_for_int8_takes_it(data: Any) -> None:
    from edgepress.deploy.quantize.qat import train_quantised

    model = _plain()
    train_quantised(model, compress.open_data(data, model), 1)
    assert CALLS


TRAININGS: list[Callable[[Any, Any], Any]] = [
    lambda m, d: compress.finetune(m, d, **QUICK),
    lambda m, d: compress.finetune(m, d, teacher=keras.Model(*_stack()), **QUICK),
    lambda m, d: compress.prune(m, d, sparsity=0.25, recover_epochs=1),
    lambda m, d: compress.prune(m, d, sparsity=0.25, structure="weights", recover_epochs=1),
    lambda m, d: compress.unfreeze_search(m, d, **QUICK),
    lambda m, d: compress.lr_find(m, d, steps=10),
]


@pytest.mark.parametrize("train", TRAININGS)
def test_a_step_of_its_own_is_refused(train: Any, data: Any) -> None:
    with pytest.raises(InputError, match=r"train_step of its own .class Stepping.") as error:
        train(_stepping(), data)
    assert "compute_loss" in error.value.hint
    assert "keras.Model(model.inputs, model.outputs)" in error.value.hint


def test_the_ways_out_of_a_refusal_work(data: Any) -> None:
    model = _stepping()
    assert compress.finetune(keras.Model(model.inputs, model.outputs), data, **QUICK).history.epochs
    assert compress.prune(model, data, sparsity=0.25, recover_epochs=0).model


class Hidden(keras.Model):
    """Its graph is Python, so that it is flattened on loading."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = layers.Dense(3, activation="softmax")

    def call(self, x: Any) -> Any:
        return self.dense(x)

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        return super().compute_loss(*args, **kwargs)


def test_what_flattening_would_lose_is_refused(data: Any, tmp_path: Any) -> None:
    model = Hidden()
    model(data["x_train"][:2])
    for given in (flatten(model), model):
        with pytest.raises(InputError, match=r"compute_loss of its own .class Hidden."):
            compress.finetune(given, data, **QUICK)
    with pytest.raises(InputError, match="without defined inputs"):
        compress.finetune(Hidden(), data, **QUICK)
    model.save(tmp_path / "hidden.keras")
    loaded = compress.load(tmp_path / "hidden.keras", {"Hidden": Hidden})
    with pytest.raises(InputError, match="class Hidden"):
        compress.finetune(loaded, data, **QUICK)


def test_what_layers_add_counts_whatever_its_shape(data: Any) -> None:
    @keras.saving.register_keras_serializable("test")
    class Adding(layers.Layer):
        def call(self, x: Any) -> Any:
            self.add_loss(ops.ones((2, 3)))
            self.add_loss(ops.sum(x) * 0.0)
            return x

    inputs, outputs = _stack()
    keras.utils.set_random_seed(0)
    model = keras.Model(inputs, Adding()(outputs))
    options = {**QUICK, "optimizer": "sgd", "lr": 1e-9}
    usual = compress.finetune(keras.Model(inputs, outputs), data, **options)
    added = compress.finetune(model, data, **options)
    difference = added.history.epochs["loss"][0] - usual.history.epochs["loss"][0]
    assert difference == pytest.approx(6, rel=1e-4)


def test_a_loss_that_needs_what_a_copy_lacks_says_so(data: Any) -> None:
    class Failing(Plain):
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            raise ValueError("no such thing")

    with pytest.raises(InputError, match=r"compute_loss of Failing fails.*no such thing"):
        compress.finetune(Failing(*_stack()), data, **QUICK)
