"""The networks of keras.applications reach half their MACs, exactly, and convert."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from pruned_twins import masked, outputs_of, relative_gap

from edgepress.compress.cost import model_cost
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.structure.budgets.measured_targets import Budget
from edgepress.compress.structure.planning.allocate import allocate
from edgepress.compress.structure.planning.scoring import score_groups
from edgepress.compress.structure.surgery.surgery import Surgery, remove
from edgepress.compress.structure.tracing.groups import find_channels
from edgepress.deploy.exporting.export import export
from edgepress.deploy.sources.sample_inputs import plausible_inputs

ALL = sorted(name for name in dir(keras.applications) if name[0].isupper())
QUICK = ["MobileNet", "MobileNetV3Small"]
OTHERS = [name for name in ALL if name not in QUICK]
# One or two of each family; ONNX files of the others differ in depth and width only.
ONNX = [
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "InceptionResNetV2",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Large",
    "MobileNetV3Small",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "VGG16",
    "Xception",
]
Record = Callable[[str, object], None]
LARGE_INPUT = ("Xception", "InceptionV3", "InceptionResNetV2")


@pytest.fixture
def double_precision() -> Iterator[None]:
    """Rounding grows through hundreds of layers with random weights; exactness is not about it."""
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def _build(name: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    side = 75 if name in LARGE_INPUT else 64 if name.startswith("NASNet") else 48
    build: Any = getattr(keras.applications, name)
    # A softmax over random weights gives nothing but zeros and ones, in which no difference shows.
    top = {"classes": 10, "classifier_activation": None}
    options = {"include_top": False, "pooling": "avg"} if side == 48 else top
    model = build(weights=None, input_shape=(side, side, 3), **options)
    _settle(model)
    return model


def _settle(model: keras.Model) -> None:
    """Give batch normalisation the statistics of a batch, so that signals neither fade nor grow.

    A layer scale starts at a millionth, which would hide what its branch does. An offset of a
    half keeps random weights from doubling every small difference from layer to layer: without it
    the last bit of a float32 grows to a third of EfficientNetV2M's output, and nothing compares.
    """
    scales = [x for x in model._flatten_layers() if type(x).__name__ == "LayerScale"]
    for layer in scales:
        layer.gamma.assign(keras.ops.full(layer.gamma.shape, 0.5))
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.beta.assign(keras.ops.full(norm.beta.shape, 0.5))
    if norms:
        model(_images(model, 1, 8), training=True)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum


def _images(model: keras.Model, seed: int = 0, count: int = 2) -> Any:
    """Inputs in the range that the first layers expect: 0 to 255 where they divide by it."""
    (values,) = plausible_inputs(model, count, seed).values()
    return values


def _halved(name: str, record: Record) -> Surgery:
    """A network with at most half its MACs, and at least 47.5 % of them."""
    channels = find_channels(_build(name))
    budget = Budget(channels)
    spec = PruneSpec(structure="channels", target_macs=0.5, criterion="l1")
    alive = allocate(channels, score_groups(channels, spec, None, budget), spec, budget)
    surgery = remove(channels, alive)
    full, left = model_cost(channels.model), model_cost(surgery.model)
    assert full.unknown == ()
    assert left.macs == budget.macs(alive)
    record("macs", round(left.macs / full.macs, 4))
    assert 0.475 <= left.macs / full.macs <= 0.5
    return surgery


def _check(name: str, record: Record) -> None:
    surgery = _halved(name, record)
    inputs = _images(surgery.model)
    found = outputs_of(surgery.model, inputs)
    assert all(x.dtype == np.float64 for x in found)
    twin = masked(surgery.channels, surgery.alive)
    gap = relative_gap(outputs_of(twin, inputs), found)
    record("gap", gap)
    assert gap < 1e-4


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("name", QUICK)
def test_half_the_macs(name: str, record_property: Record) -> None:
    _check(name, record_property)


@pytest.mark.slow
@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("name", OTHERS)
def test_half_the_macs_of_all_others(name: str, record_property: Record) -> None:
    _check(name, record_property)


def _check_files(name: str, formats: list[str], folder: Path, record: Record, worker: Any) -> None:
    small = _halved(name, record).model
    # The statistics are those of the uncut network; through 169 layers of random weights they
    # let signals grow beyond float32.
    _settle(small)
    assert all(np.abs(x).max() < 1e4 for x in outputs_of(small, _images(small)))
    result = export(small, folder / "out", formats=formats, verify_samples=4, worker=worker)
    assert (result.failed, result.skipped) == ((), ())
    assert [a.format for a in result.artifacts] == formats
    for artifact in result.artifacts:
        assert artifact.verified is not None
        record(artifact.format, artifact.verified.max_abs_error)
        assert artifact.verified.passed


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_files_of_a_pruned_network_give_the_same(
    name: str, tmp_path: Path, record_property: Record, worker: Any
) -> None:
    formats = ["tflite", "onnx"] if name in ONNX else ["tflite"]
    _check_files(name, formats, tmp_path, record_property, worker)


def test_the_quick_ones_and_the_onnx_subset_exist() -> None:
    assert len(ALL) >= 40
    assert {*QUICK, *ONNX} <= set(ALL)
