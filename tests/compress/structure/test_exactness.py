"""A pruned model gives what the original gives when nothing reads the removed channels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from architectures import MODELS
from pruned_twins import cut, inputs_for, masked, outputs_of, randomise, relative_gap
from real_files import also_real

from edgepress.compress.cost import model_cost
from edgepress.compress.errors import InputError
from edgepress.compress.models import load
from edgepress.compress.models.fingerprints import fingerprint
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.structure.budgets.measured_targets import Budget
from edgepress.compress.structure.planning.allocate import allocate
from edgepress.compress.structure.planning.scoring import score_groups
from edgepress.compress.structure.surgery.surgery import remove
from edgepress.compress.structure.tracing.groups import find_channels


@pytest.mark.parametrize("name", MODELS)
def test_removal_equals_masking_the_readers(name: str, tmp_path: Path) -> None:
    model = randomise(MODELS[name]())
    before = fingerprint(model)
    channels = find_channels(model)
    alive = cut(channels, 0.5)
    small = remove(channels, alive).model
    inputs = inputs_for(model)
    expected = outputs_of(masked(channels, alive), inputs)
    assert not channels.inexact
    assert relative_gap(expected, outputs_of(small, inputs)) < 1e-4
    assert small.count_params() < model.count_params()
    assert fingerprint(model) == before
    budget = Budget(channels)
    cost = model_cost(small)
    assert (cost.macs, cost.params) == (budget.macs(alive), budget.params(alive))
    small.save(tmp_path / "small.keras")
    again = keras.saving.load_model(tmp_path / "small.keras")
    assert relative_gap(outputs_of(small, inputs), outputs_of(again, inputs)) < 1e-6


def _initializers(layer: keras.Layer) -> dict[str, object]:
    return {k: v for k, v in layer.get_config().items() if k.endswith("_initializer")}


@pytest.mark.parametrize("name", MODELS)
def test_nothing_removed_is_the_same_model(name: str) -> None:
    model = randomise(MODELS[name]())
    channels = find_channels(model)
    twin = remove(channels, channels.all_alive()).model
    inputs = inputs_for(model)
    assert [w.shape for w in twin.weights] == [w.shape for w in model.weights]
    assert relative_gap(outputs_of(model, inputs), outputs_of(twin, inputs)) < 1e-6
    assert [_initializers(x) for x in twin.layers] == [_initializers(x) for x in model.layers]


@pytest.mark.parametrize(
    "path",
    [
        *("resnet8.keras", "mobilenet.keras", "ds_cnn.keras", "autoencoder.keras"),
        *also_real(
            "mlperf_tiny/ic/resnet8.h5",
            "mlperf_tiny/vww/vww_96_keras3.keras",
            "mlperf_tiny/kws/kws_keras3.keras",
            "mlperf_tiny/ad/ad01.h5",
            "models/keras3_ok/cnn_channels_first.hdf5",
            "models/keras3_ok/conv1d_leakyrelu.h5",
            "models/keras3_ok/embedding_conv1d.hdf5",
            "models/keras3_ok/face12net_two_outputs.h5",
            "models/keras3_ok/har_cnn.keras",
            "models/keras3_ok/mini_xception_emotion.hdf5",
            "models/keras3_ok/big_xception_emotion.hdf5",
            "models/keras3_ok/se_conv1d.h5",
            "models/keras3_ok/sleep_bigru_wrn.keras",
            "models/keras3_ok/stackedgan_gen1_two_inputs.h5",
        ),
    ],
)
def test_models_out_of_files_prune_exactly(path: str, edge_model: Callable[[str], Path]) -> None:
    model = load(edge_model(path))
    channels = find_channels(model)
    alive = cut(channels, 0.4)
    small = remove(channels, alive).model
    inputs = inputs_for(model)
    expected = outputs_of(masked(channels, alive), inputs)
    assert relative_gap(expected, outputs_of(small, inputs)) < 1e-4
    assert [t.shape for t in small.outputs] == [t.shape for t in model.outputs]
    assert small.count_params() < model.count_params()


def test_pinned_channels_say_why() -> None:
    model = MODELS["gates_and_nesting"]()
    reasons = {g.name: g.reason for g in find_channels(model, protect=["pair"]).groups}
    assert "protected" in " ".join(reasons.values())
    assert any("output of the model" in r for r in reasons.values())
    assert any("over all its channels" in r for r in reasons.values())


def test_an_mlp_mixer_is_halved_and_says_what_its_tokens_hold() -> None:
    channels = find_channels(MODELS["mlp_mixer"]())
    budget = Budget(channels)
    spec = PruneSpec(structure="channels", target_macs=0.5, criterion="l1")
    alive = allocate(channels, score_groups(channels, spec, None, budget), spec, budget)
    share = budget.macs(alive) / budget.macs(channels.all_alive())
    reasons = {g.name: g.reason for g in channels.groups if not g.prunable}
    assert 0.475 <= share <= 0.5
    assert "treats these channels as spatial positions" in reasons["patches"]
    assert sum(g.size for g in channels.groups if g.prunable) == 2 * (24 + 32)


def test_a_bias_that_keras_would_misread_is_refused() -> None:
    i = keras.Input((3, 5))
    x = keras.layers.EinsumDense("abc,cde->abde", (3, 3, 2), bias_axes="de", name="heads")(i)
    channels = find_channels(keras.Model(i, keras.layers.Dense(2)(keras.layers.Flatten()(x))))
    (heads,) = [g for g in channels.groups if g.name == "heads"]
    alive = channels.all_alive()
    alive[heads.units[0]] = False
    with pytest.raises(InputError, match="'heads' would be left with a bias of shape"):
        remove(channels, alive)


def test_normalisation_over_channels_is_named_and_sees_only_what_is_left() -> None:
    i = keras.Input((6, 8))
    x = keras.layers.LayerNormalization(name="norm")(keras.layers.Dense(8, name="first")(i))
    model = randomise(keras.Model(i, keras.layers.Dense(3, name="last")(x)))
    channels = find_channels(model)
    alive = cut(channels, 0.5)
    small = remove(channels, alive).model
    assert channels.inexact == ("norm",)
    first, norm, last = (model.get_layer(n) for n in ("first", "norm", "last"))
    kept = channels.kept(first.kernel, alive)[1]
    inputs = inputs_for(model)
    seen = np.asarray(first(inputs))[..., kept]
    scaled = (seen - seen.mean(-1, keepdims=True)) / np.sqrt(
        seen.var(-1, keepdims=True) + norm.epsilon
    )
    scaled = scaled * np.asarray(norm.gamma)[kept] + np.asarray(norm.beta)[kept]
    expected = scaled @ np.asarray(last.kernel)[kept] + np.asarray(last.bias)
    assert relative_gap([expected], outputs_of(small, inputs)) < 1e-4
