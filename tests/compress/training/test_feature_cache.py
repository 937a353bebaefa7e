from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from variants import mostly_slow

from edgepress import compress
from edgepress.compress.data import open_data
from edgepress.compress.data.readers.storage import Limits
from edgepress.compress.specs.recipe import DataSpec
from edgepress.compress.training.cache.feature_cache import cache_features
from edgepress.compress.training.freezing.select import unfreeze

OPTIONS = {"epochs": 3, "batch_size": 16, "lr": 1e-2, "optimizer": "sgd"}
layers = keras.layers


def two_ways() -> Any:
    """Two branches from the inputs, one of which reaches the end past the frozen part."""
    inputs = keras.Input((8, 8, 3), name="image")
    a = layers.Conv2D(4, 3, padding="same", name="a")(inputs)
    b = layers.BatchNormalization(name="n")(layers.Conv2D(4, 3, padding="same", name="b")(a))
    merged = layers.Concatenate(name="join")([b, inputs])
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Conv2D(4, 3, name="c")(merged))
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="d")(x))


@pytest.mark.parametrize(
    ("build", "spec"),
    mostly_slow(
        [("classifier", "head"), ("classifier", "block"), ("two_ways", "top:2"), ("two_ways", "d")],
        ("classifier", "block"),
        ("two_ways", "top:2"),
    ),
)
def test_equals_training_without_it(networks: Any, build: str, spec: str) -> None:
    model = networks.seeded(two_ways if build == "two_ways" else networks.classifier)
    before = networks.arrays_of(model)
    plain, cached = (
        compress.finetune(model, networks.classes(), unfreeze=spec, feature_cache=on, **OPTIONS)
        for on in (False, True)
    )
    for a, b in zip(plain.model.get_weights(), cached.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    np.testing.assert_allclose(
        plain.history.epochs["loss"], cached.history.epochs["loss"], atol=1e-5
    )
    assert plain.history.before == pytest.approx(cached.history.before, abs=1e-6)
    assert networks.changed(before, networks.arrays_of(cached.model)) == networks.changed(
        before, networks.arrays_of(plain.model)
    )


@pytest.mark.slow
def test_equals_training_without_it_from_disk(networks: Any) -> None:
    model = networks.seeded(networks.classifier)
    room: dict[str, Any] = {"cache_memory": 0, "unfreeze": "head", **OPTIONS}
    in_memory = compress.finetune(model, networks.classes(), **{**room, "cache_memory": 1})
    on_disk = compress.finetune(model, networks.classes(), **room)
    for a, b in zip(in_memory.model.weights, on_disk.model.weights, strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()


def test_limits_decide_where_features_lie(networks: Any) -> None:
    def source(memory: float, disk: float) -> Any:
        model = networks.classifier()
        unfreeze(model, ["head"])
        data = open_data(networks.classes(), model)
        found = cache_features(model, data, 3, limits=Limits(memory, disk))
        return found and found[1].train.source.inputs

    assert source(0, 0) is None
    assert not any(isinstance(a, np.memmap) for a in source(1, 0).values())
    assert all(isinstance(a, np.memmap) for a in source(0, 1).values())


def cut(networks: Any, spec: str, data: Any, epochs: int = 3) -> Any:
    model = networks.classifier()
    unfreeze(model, [spec])
    return cache_features(model, open_data(data, model), epochs)


def test_only_what_is_random_or_trained_is_left(networks: Any) -> None:
    rest, dataset = cut(networks, "head", networks.classes())
    assert {layer.name for layer in rest.layers if layer.count_params()} == {"head"}
    assert rest.inputs[0].shape == (None, 6)
    names = [layer.name for layer in rest.layers]
    assert "drop" in names
    assert dataset.train.size + dataset.val.size == 96


def test_no_cache_where_it_would_be_wrong_or_useless(networks: Any) -> None:
    data = networks.classes()
    assert cut(networks, "conv1", data) is None
    assert cut(networks, "all", data) is None
    assert cut(networks, "head", data, epochs=1) is None
    assert cut(networks, "head", DataSpec(spec=data, augment=("flip",))) is None
