"""A validation that stays at chance is found, and a model that was never trained is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgepress import compress
from edgepress.compress.errors import CheckFailed
from edgepress.compress.specs.recipe import DataSpec
from edgepress.compress.training import advise
from edgepress.compress.training.chance import Chance, at_chance, chance_of, collapsed
from edgepress.compress.training.diagnosis import diagnose
from edgepress.deploy.pipeline.pipeline import run
from edgepress.deploy.recipe import Recipe

FEW = {"loss": [2.0, 1.0, 0.5], "lr": [1e-3] * 3}
TEN = Chance("accuracy", 0.1, 1000)


@pytest.mark.parametrize(
    ("chance", "columns", "found"),
    [
        (TEN, {"accuracy": [0.2, 0.4, 0.51], "val_accuracy": [0.1] * 3}, True),
        (TEN, {"accuracy": [0.2, 0.4, 0.51], "val_accuracy": [0.1, 0.09, 0.11]}, True),
        (TEN, {"accuracy": [0.2, 0.4, 0.51], "val_accuracy": [0.1, 0.1, 0.3]}, False),
        (TEN, {"accuracy": [0.1, 0.1, 0.1], "val_accuracy": [0.1] * 3}, False),
        (TEN, {"accuracy": [0.51], "val_accuracy": [0.1]}, False),
        (Chance("accuracy", 0.9, 500), {"accuracy": [0.95], "val_accuracy": [0.9] * 2}, False),
        (Chance("accuracy", 0.5, 20), {"accuracy": [0.7] * 3, "val_accuracy": [0.65] * 3}, False),
        (Chance("accuracy", 0.3, 10), {"accuracy": [1.0] * 3, "val_accuracy": [0.5] * 3}, False),
        (Chance("mae", 1.0, 100), {"mae": [0.9, 0.3], "val_mae": [1.01, 1.0]}, True),
        (Chance("mae", 1.0, 100), {"mae": [0.9, 0.3], "val_mae": [1.01, 0.7]}, False),
        (TEN, {"val_accuracy": [0.1] * 3}, True),
        (None, {"accuracy": [0.2, 0.4, 0.51], "val_accuracy": [0.1] * 3}, False),
    ],
)
def test_only_a_clear_case_is_found(chance: Any, columns: Any, found: bool) -> None:
    text = at_chance({**FEW, **columns}, [chance] if chance else [])
    assert text.startswith("validation stays at chance while training improves") == found
    assert bool(text) == found


def _network(outputs: int = 4, activation: str = "softmax", seed: int = 0) -> Any:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((6,))
    x = layers.Dense(24, activation="relu", name="hidden")(inputs)
    return keras.Model(inputs, layers.Dense(outputs, activation=activation, name="head")(x))


def _accuracy(model: Any, data: dict[str, Any]) -> float:
    return float((model.predict(data["x_val"], verbose=0).argmax(1) == data["y_val"]).mean())


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    """Classes that training samples tell, and validation samples don't."""
    random = np.random.default_rng(0)
    y = np.arange(320) % 4
    x = random.normal(size=(320, 6)).astype("float32")
    x[np.arange(320), y] += 3
    x_val, y_val = x[160:240], (y[160:240] + random.integers(1, 5, 80)) % 4
    train, test = (x[:160], y[:160]), (x[240:], y[240:])
    names = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test")
    return dict(zip(names, (*train, x_val, y_val, *test), strict=True))


@pytest.mark.parametrize(
    ("targets", "outputs", "activation", "loss"),
    [
        (lambda y: y, 4, "softmax", None),
        (lambda y: np.eye(4)[y].astype("float32"), 4, "softmax", None),
        (lambda y: np.eye(4)[y].astype("float32"), 4, "softmax", "categorical_focal_crossentropy"),
        (lambda y: np.eye(4)[y].astype("float32"), 4, "softmax", "kl_divergence"),
        (lambda y: (y > 1).astype("int64"), 1, "sigmoid", None),
        (
            lambda y: np.stack([y > 0, y > 1, y > 2], 1) * 1,
            3,
            "sigmoid",
            "binary_focal_crossentropy",
        ),
        (lambda y: np.eye(4)[y].astype("float32") * [1, 2, 3, 4.5], 4, "linear", None),
    ],
)
def test_chance_is_what_no_constant_answer_beats(
    targets: Any, outputs: int, activation: str, loss: str | None, data: Any
) -> None:
    y = targets(data["y_train"])
    arrays = {"x_train": data["x_train"], "y_train": y, "x_val": data["x_train"], "y_val": y}
    dataset = compress.open_data(DataSpec(spec=arrays, loss=loss), _network(outputs, activation))
    task, split = dataset.task, dataset.val
    assert split is not None
    chance = chance_of(task, split)
    assert chance is not None
    rows = np.random.default_rng(0).uniform(0, 1, (40, outputs))
    for row in [*np.eye(outputs), *rows]:
        constant = np.tile(row, (len(y), 1)).astype("float32")
        value = task.score(constant, y)
        assert not task.better(value, chance.value + (1e-6 if task.higher_is_better else -1e-6))


def test_it_is_said_everywhere_and_stops_the_line(data: Any, tmp_path: Path) -> None:
    result = compress.finetune(_network(), data, epochs=6, lr=1e-2, batch_size=16)
    document = result.to_json()
    assert "stays at chance" in " ".join(document["notes"])
    assert result.history.at_chance in document["notes"]
    assert document["diagnosis"][0]["finding"] == "validation at chance"
    file, arrays = tmp_path / "model.keras", tmp_path / "data.npz"
    compress.save(_network(), file)
    np.savez(arrays, **data)
    recipe = Recipe.model_validate(
        {
            "model": str(file),
            "data": {"spec": str(arrays)},
            "finetune": {"epochs": 6, "lr": 1e-2, "batch_size": 16},
            "prune": [{"structure": "channels", "sparsity": 0.25}],
        }
    )
    for resume in (False, True):
        with pytest.raises(CheckFailed, match="before pruning: validation stays at chance"):
            run(recipe, tmp_path / "run", resume=resume)


@pytest.mark.slow
def test_each_output_is_held_against_its_own_chance(data: Any) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = layers.Dense(24, activation="relu")(inputs)
    heads = {
        "kind": layers.Dense(4, activation="softmax", name="kind")(x),
        "size": layers.Dense(1, name="size")(x),
    }
    model = keras.Model(inputs, list(heads.values()))
    sizes = {split: data[f"x_{split}"][:, :1] * 100 for split in ("train", "val", "test")}

    def stuck(part: Any) -> str:
        splits = {s: (data[f"x_{s}"], [part[f"y_{s}"], sizes[s]]) for s in sizes}
        tuned = compress.finetune(model, splits, epochs=6, lr=1e-2, batch_size=16)
        assert {"kind_accuracy", "val_kind_accuracy", "val_size_mae"} <= set(tuned.history.epochs)
        return tuned.history.at_chance

    text = stuck(data)
    assert "output 'kind' has accuracy" in text
    assert "'size'" not in text
    good = {**data, "y_val": data["x_val"][:, :4].argmax(1)}
    assert stuck(good) == ""


def test_a_good_training_is_left_alone(data: Any) -> None:
    good = {**data, "x_val": data["x_test"], "y_val": data["y_test"]}
    result = compress.finetune(_network(), good, epochs=3, lr=1e-2, batch_size=16)
    assert result.history.at_chance == ""
    assert not [d for d in result.to_json()["diagnosis"] if "chance" in d["finding"]]


@pytest.mark.slow
def test_advice_for_a_model_that_was_never_trained(data: Any) -> None:
    good = {**data, "x_val": data["x_test"], "y_val": data["y_test"]}
    inputs = keras.Input((6,))
    x = layers.BatchNormalization()(layers.Dense(24, use_bias=False)(inputs))
    with_norm = keras.Model(inputs, layers.Dense(4, activation="softmax")(x))
    # Random weights that do better than a constant answer, by luck.
    lucky = max((_network(seed=s) for s in range(8)), key=lambda m: _accuracy(m, good))
    assert _accuracy(lucky, good) > 0.3
    for model in (_network(), with_norm, lucky):
        advice = advise(model, good)
        assert advice.recipe["unfreeze"] == ["all"]
        assert "train everything" in advice.lines[0].reason
        trained = compress.finetune(model, good, **{**advice.recipe, "epochs": 5}).model
        assert "never trained" not in advise(trained, good).lines[0].reason


@pytest.mark.parametrize(
    ("validation", "before", "epoch"),
    [
        ([0.9, 0.25, 0.25], 0.25, 2),
        ([0.9, 0.25], None, 2),
        ([0.25, 0.25, 0.26], 0.9, 1),  # what it had before the first epoch
        ([0.25, 0.9, 0.24, 0.25], 0.3, 3),
        ([0.9, 0.25, 0.9], 0.25, None),
        ([0.9, 0.5, 0.5], 0.9, None),  # worse, but not lost
        ([0.25, 0.25], 0.25, None),  # it never knew anything
        ([0.9], 0.9, None),
    ],
)
def test_a_training_that_falls_to_chance_is_told_of(
    validation: list[float], before: float | None, epoch: int | None
) -> None:
    known = {} if before is None else {"accuracy": before}
    columns = {"loss": [1.0] * len(validation), "val_accuracy": validation}
    found = collapsed(columns, [Chance("accuracy", 0.25, 200)], known, 0.5)
    assert (found and found[0]) == epoch
    if found:
        assert "a tenth of the learning rate, 0.05" in found[1]
        [diagnosis] = diagnose(columns, collapsed=found)
        assert (diagnosis.finding, diagnosis.epoch) == ("collapsed", epoch)


def test_a_training_that_loses_the_model_says_so(data: Any) -> None:
    good = {**data, "x_val": data["x_test"], "y_val": data["y_test"]}
    known = compress.finetune(_network(), good, epochs=6, lr=1e-2, batch_size=16)
    assert known.history.collapsed is None
    noise = {**good, "y_train": np.random.default_rng(0).permutation(data["y_train"])}
    lost = compress.finetune(known.model, noise, epochs=4, lr=30.0, batch_size=16)
    assert lost.history.collapsed is not None
    assert lost.history.collapsed[1] in lost.to_json()["notes"]
