"""The networks of keras.applications reach half their MACs, exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from pruned_twins import inputs_for, masked, outputs_of, relative_gap

from edgepress.compress.cost import model_cost
from edgepress.compress.recipe import PruneSpec
from edgepress.compress.structure.allocate import allocate
from edgepress.compress.structure.budget import Budget
from edgepress.compress.structure.groups import find_channels
from edgepress.compress.structure.scoring import score_groups
from edgepress.compress.structure.surgery import remove

QUICK = ["MobileNet", "MobileNetV3Small"]
SMALL = [
    "MobileNetV2",
    "MobileNetV3Large",
    "EfficientNetB0",
    "EfficientNetB1",
    "EfficientNetB2",
    "EfficientNetB3",
    "EfficientNetB4",
    "EfficientNetB5",
    "EfficientNetB6",
    "EfficientNetB7",
    "EfficientNetV2B0",
    "EfficientNetV2B1",
    "EfficientNetV2B2",
    "EfficientNetV2B3",
    "EfficientNetV2S",
    "EfficientNetV2M",
    "EfficientNetV2L",
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "ResNet50V2",
    "ResNet101V2",
    "ResNet152V2",
    "VGG16",
    "VGG19",
    "Xception",
    "InceptionV3",
    "InceptionResNetV2",
    "NASNetMobile",
    "NASNetLarge",
    "ConvNeXtTiny",
    "ConvNeXtSmall",
    "ConvNeXtBase",
    "ConvNeXtLarge",
    "ConvNeXtXLarge",
]
LARGE_INPUT = ("Xception", "InceptionV3", "InceptionResNetV2")


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """Rounding grows through hundreds of layers with random weights; exactness is not about it."""
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def _build(name: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    side = 75 if name in LARGE_INPUT else 64 if name.startswith("NASNet") else 48
    build: Any = getattr(keras.applications, name)
    options = {"include_top": False, "pooling": "avg"} if side == 48 else {"classes": 10}
    model = build(weights=None, input_shape=(side, side, 3), **options)
    _settle(model)
    return model


def _settle(model: keras.Model) -> None:
    """Give batch normalisation the statistics of a batch, so that signals neither fade nor grow."""
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(inputs_for(model, 1), training=True)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum


def _check(name: str) -> None:
    model = _build(name)
    channels = find_channels(model)
    budget = Budget(channels)
    spec = PruneSpec(structure="channels", target_macs=0.5, criterion="l1")
    alive = allocate(channels, score_groups(channels, spec, None, budget), spec, budget)
    small = remove(channels, alive).model
    full, left = model_cost(model), model_cost(small)
    assert full.unknown == ()
    assert left.macs == budget.macs(alive)
    assert 0.475 <= left.macs / full.macs <= 0.5
    inputs = inputs_for(model)
    found = outputs_of(small, inputs)
    assert all(np.isfinite(x).all() and x.dtype == np.float64 for x in found)
    if not channels.trace.inexact:
        assert relative_gap(outputs_of(masked(channels, alive), inputs), found) < 1e-4


@pytest.mark.parametrize("name", QUICK)
def test_half_the_macs(name: str) -> None:
    _check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_half_the_macs_of_all_others(name: str) -> None:
    _check(name)


def test_the_lists_hold_all_of_them() -> None:
    known = {n for n in dir(keras.applications) if n[0].isupper()}
    assert known == {*QUICK, *SMALL}
