"""Which blocks of layers are found in real architectures, and that they really go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from pruned_twins import inputs_for, masked, outputs_of, randomise, relative_gap
from variants import mostly_slow

from edgepress.compress.cost import model_cost
from edgepress.compress.errors import InputError
from edgepress.compress.inspection import inspect
from edgepress.compress.models import save
from edgepress.compress.pruning import prune
from edgepress.compress.structure.layers.blocks import find_blocks, without
from edgepress.compress.structure.repair.repair import repair
from edgepress.compress.structure.surgery.surgery import rebuild
from edgepress.compress.structure.tracing.groups import find_channels

L = keras.layers


def _transformer() -> keras.Model:
    i = keras.Input((16, 16, 3))
    x = L.Reshape((16, 24))(L.Conv2D(24, 4, 4)(i))
    for k in range(3):
        h = L.LayerNormalization()(x)
        x = L.Add(name=f"after_attention_{k}")(
            [x, L.MultiHeadAttention(2, 12, name=f"attention_{k}")(h, h)]
        )
        h = L.Dense(48, activation="gelu", name=f"widen_{k}")(L.LayerNormalization()(x))
        x = x + L.Dense(24, name=f"narrow_{k}")(h)
    return keras.Model(i, L.Dense(4, activation="softmax")(L.GlobalAveragePooling1D()(x)))


def _nested() -> keras.Model:
    """Blocks within nested models: functional, sequential, and one inside another."""

    def inner(name: str) -> keras.Model:
        i = keras.Input((8, 8, 12))
        y = L.Conv2D(12, 3, padding="same", activation="relu", name="first")(i)
        return keras.Model(i, L.Add(name="sum")([i, L.Conv2D(12, 1, name="second")(y)]), name=name)

    i = keras.Input((16, 16, 3))
    x = L.Conv2D(12, 3, 2, padding="same")(i)
    x = keras.Sequential([keras.Input((8, 8, 12)), inner("deep"), L.ReLU()], name="stage")(x)
    x = L.GlobalAveragePooling2D()(inner("shallow")(x))
    return keras.Model(i, L.Dense(4, activation="softmax")(x))


def _plain() -> keras.Model:
    """No branch at all: a bottleneck, and a convolution with what belongs to it; a gate."""
    i = keras.Input((16, 16, 3))
    x = L.ReLU()(L.Conv2D(16, 3, padding="same", name="stem")(i))
    x = L.ReLU(name="same_end")(
        L.BatchNormalization(name="same_norm")(L.Conv2D(16, 3, padding="same", name="same")(x))
    )
    x = L.Conv2D(16, 1, name="narrow")(L.Conv2D(40, 1, activation="relu", name="widen")(x))
    gate = L.Dense(16, activation="sigmoid", name="gate")(
        L.GlobalAveragePooling2D(keepdims=True)(x)
    )
    x = L.GlobalAveragePooling2D()(L.Multiply(name="gated")([x, gate]))
    return keras.Model(i, L.Dense(4, activation="softmax")(x))


def _mobilenet() -> keras.Model:
    """The first five of MobileNetV2's blocks."""
    whole = keras.applications.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35, weights=None)
    x = L.GlobalAveragePooling2D()(whole.get_layer("block_4_project_BN").output)
    return keras.Model(whole.inputs, L.Dense(4, activation="softmax")(x))


def _dense() -> keras.Model:
    """Layers whose outputs are put beside their inputs, at last three at a time."""
    i = keras.Input((16, 16, 3))
    x = L.Conv2D(8, 3, 2, padding="same", name="stem")(i)
    for k in range(3):
        y = L.Conv2D(12, 1, name=f"squeeze_{k}")(
            L.ReLU()(L.BatchNormalization(name=f"norm_{k}")(x))
        )
        y = L.Conv2D(6, 3, padding="same", name=f"grow_{k}")(L.ReLU()(L.BatchNormalization()(y)))
        x = L.Concatenate(name=f"beside_{k}")([x, y])
    x = L.Conv2D(10, 1, name="transition")(L.ReLU()(L.BatchNormalization()(x)))
    parts = [L.Conv2D(6, n, padding="same", name=f"branch_{n}")(x) for n in (1, 3, 5)]
    x = keras.ops.concatenate(parts, -1)
    x = L.GlobalAveragePooling2D()(L.ReLU()(L.BatchNormalization()(x)))
    return keras.Model(i, L.Dense(4, activation="softmax")(x))


MODELS: dict[str, tuple[Callable[[], keras.Model], set[str]]] = {
    "transformer": (_transformer, {"attention_0", "widen_2", "narrow_2"}),
    "nested": (_nested, {"stage/deep/first", "stage/deep/second", "shallow/second"}),
    "plain": (_plain, {"same", "same_norm", "same_end", "widen", "narrow", "gate"}),
    "dense": (_dense, {"squeeze_1", "norm_1", "grow_1", "grow_2", "branch_1", "branch_5"}),
    "mobilenet": (_mobilenet, {"block_2_expand", "block_2_depthwise", "block_4_project"}),
}


@pytest.mark.parametrize("name", mostly_slow(MODELS, "plain", "dense"))
def test_each_block_saves_what_it_says(name: str) -> None:
    make, expected = MODELS[name]
    keras.utils.set_random_seed(0)
    model = make()
    channels = find_channels(model)
    blocks = find_blocks(channels)
    assert expected <= {layer for b in blocks for layer in b.layers}
    before = model_cost(model)
    assert without(channels, ()).cost == (before.macs, before.params)
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype("float32")
    for block in blocks[:: max(1, len(blocks) // 8)]:
        small = rebuild(without(channels, [block])).model
        after = model_cost(small)
        assert (before.macs - after.macs, before.params - after.params) == (
            block.macs,
            block.params,
        )
        left = {layer.name for layer in inspect(small).layers}
        assert not set(block.layers) & left
        assert np.isfinite(np.asarray(small(x))).all()


def test_what_is_put_beside_others_goes_as_if_nothing_read_it() -> None:
    model = randomise(_dense())
    channels = find_channels(model)
    blocks = {b.name: b for b in find_blocks(channels)}
    # The stem feeds what stays, and without any branch there is nothing to read.
    assert not any("stem" in b.layers for b in blocks.values())
    names = ["grow_0", "grow_2", "branch_3", "branch_5"]
    inputs = inputs_for(model)
    for chosen in ([n] for n in names), [names], [["grow_0", "grow_1", "grow_2"]]:
        for gone in chosen:
            remains = without(channels, [blocks[n] for n in gone])
            assert remains.holds()
            small = rebuild(remains).model
            expected = outputs_of(masked(channels, remains.alive), inputs)
            assert relative_gap(expected, outputs_of(small, inputs)) < 1e-4
            cost = model_cost(small)
            assert remains.cost == (cost.macs, cost.params)
    every = [blocks[f"branch_{n}"] for n in (1, 3, 5)]
    assert without(channels, every[:2]).holds()
    assert not without(channels, every).holds()


def test_a_dense_layer_that_says_nothing_goes_first(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = _dense()
    grow = model.get_layer("grow_1")
    grow.kernel.assign(grow.kernel * 0)
    model.layers[-1].kernel.assign(model.layers[-1].kernel * 20)
    x, data = _labelled(model, 16)
    result = prune(model, data, structure="layers", sparsity=0.3, recover_epochs=1)
    assert "grow_1" in {r.group for r in result.removed}
    assert result.model.get_layer("transition").kernel.shape[2] < 26
    save(result.model, tmp_path / "small.keras")
    again = keras.models.load_model(tmp_path / "small.keras")
    np.testing.assert_allclose(again(x), result.model(x), atol=1e-5)


@pytest.mark.slow
def test_a_branch_that_adds_nothing_goes_first_and_is_not_missed() -> None:
    keras.utils.set_random_seed(0)
    model = _transformer()
    for weight in model.get_layer("narrow_1").weights:
        weight.assign(np.zeros(weight.shape))
    head = model.layers[-1]
    head.kernel.assign(head.kernel * 20)
    x, data = _labelled(model, 16)
    result = prune(model, data, structure="layers", target_macs=0.9)
    assert {"widen_1", "narrow_1"} <= set(result.removed[0].layers)
    assert len(result.removed) == 1
    np.testing.assert_allclose(model(x), result.model(x), atol=1e-5)
    with pytest.raises(InputError, match="a layer goes at once"):
        prune(model, data, structure="layers", target_macs=0.6, schedule="polynomial")
    with pytest.raises(InputError, match="matches no layer"):
        prune(model, data, structure="layers", target_macs=0.6, protect=["atention_*"])


@pytest.mark.slow
def test_layers_go_in_rounds_with_training_after_each() -> None:
    keras.utils.set_random_seed(0)
    model = _plain()
    _, data = _labelled(model, model.input_shape[1])
    steps: dict[str, Any] = {"structure": "layers", "target_macs": 0.6, "steps": 2}
    rounds = prune(model, data, recover_epochs=2, **steps)
    assert rounds.after.macs <= 0.6 * rounds.before.macs
    assert len(rounds.history["loss"]) == 2


def _labelled(model: keras.Model, size: int) -> tuple[Any, dict[str, Any]]:
    """Images, and data whose labels are what the model itself says of them."""
    x = np.random.default_rng(0).normal(size=(96, size, size, 3)).astype("float32")
    y = np.asarray(model(x)).argmax(1)
    return x, {"x_train": x[:64], "y_train": y[:64], "x_test": x[64:], "y_test": y[64:]}


def _uneven(width: int, **shares: float) -> tuple[keras.Model, dict[str, Any]]:
    """Three residual branches, each adding a share of what it would; and what the model says."""
    keras.utils.set_random_seed(0)
    i = keras.Input((8, 8, 3))
    x = L.Conv2D(8, 1, name="stem")(i)
    for name, inner in (("large", width), ("small", 32), ("other", 32)):
        y = L.Conv2D(inner, 3, padding="same", activation="relu", name=f"{name}_in")(x)
        x = L.Add(name=name)([x, L.Conv2D(8, 3, padding="same", name=f"{name}_out")(y)])
    model = keras.Model(i, L.Dense(4, activation="softmax")(L.GlobalAveragePooling2D()(x)))
    for name, share in shares.items():
        kernel = model.get_layer(f"{name}_out").kernel
        kernel.assign(kernel * share)
    model.layers[-1].kernel.assign(model.layers[-1].kernel * 20)
    x = np.random.default_rng(0).normal(size=(96, 8, 8, 3)).astype("float32")
    y = np.asarray(model(x)).argmax(1)
    return model, {"x_train": x[:64], "y_train": y[:64], "x_test": x[64:], "y_test": y[64:]}


@pytest.mark.parametrize("target", [0.8, 0.6])
def test_no_more_goes_than_the_target_asks_for(target: float) -> None:
    model, data = _uneven(64, small=0.0, large=0.3, other=3.0)
    result = prune(model, data, structure="layers", target_macs=target)
    gone = [r.group for r in result.removed]
    assert gone == (["small"] if target == 0.8 else ["large"])
    assert result.after.macs <= target * result.before.macs
    assert result.notes == ()


def test_more_goes_where_less_would_be_missed_more_and_that_is_said() -> None:
    model, data = _uneven(48, small=0.0, large=3.0, other=0.0)
    result = prune(model, data, structure="layers", target_macs=0.65)
    assert {r.group for r in result.removed} == {"small", "other"}
    assert result.after.value == result.before.value
    assert any("leaving out large instead leaves 0.5" in note for note in result.notes)


@pytest.mark.parametrize("target", mostly_slow([0.85, 0.7, 0.5, 0.35], 0.5))
def test_of_a_sum_one_side_goes_at_most(target: float) -> None:
    keras.utils.set_random_seed(0)
    i = x = keras.Input((8, 8, 3))
    for k, width in enumerate((8, 12, 16)):
        y = L.Conv2D(width, 3, padding="same", activation="relu", name=f"first_{k}")(x)
        y = L.Conv2D(width, 3, padding="same", name=f"second_{k}")(y)
        x = L.ReLU()(L.Add(name=f"sum_{k}")([y, L.Conv2D(width, 1, name=f"short_{k}")(x)]))
    model = keras.Model(i, L.Dense(4, activation="softmax")(L.GlobalAveragePooling2D()(x)))
    _, data = _labelled(model, 8)
    result = prune(model, data, structure="layers", target_macs=target)
    assert result.after.macs <= target * result.before.macs
    gone = [layer for r in result.removed for layer in r.layers]
    sums = [name for name in gone if name.startswith("sum")]
    assert len(sums) == len(set(sums))
    assert not set(gone) & {layer.name for layer in result.model.layers}


@pytest.mark.parametrize(
    "name",
    [
        "nested",
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in ("plain", "transformer", "dense", "mobilenet")
        ),
    ],
)
def test_repair_makes_good_for_blocks(name: str) -> None:
    make, _ = MODELS[name]
    model = randomise(make())
    blocks = find_blocks(find_channels(model))
    draw = np.random.default_rng(0)
    size = (48, *model.input_shape[1:])
    seen, unseen = (draw.normal(size=size).astype("float32") for _ in range(2))
    wanted = np.asarray(model(unseen))
    given = model.inputs[0].name
    for block in blocks[:: max(1, len(blocks) // 4)]:
        surgery = rebuild(without(find_channels(model), [block]))
        cut = _gap(surgery.model, unseen, wanted)
        mended = repair(surgery, {given: seen}, unseen={given: unseen})
        left = _gap(surgery.model, unseen, wanted)
        # Few places of few images can't tell how a thousand features of MobileNet's add up.
        assert left <= cut if name == "mobilenet" else left < cut
        assert set(mended) <= {layer.name for layer in inspect(surgery.model).layers}


def _gap(model: keras.Model, x: Any, wanted: Any) -> float:
    return float(np.square(np.asarray(model(x)) - wanted).mean())


def test_a_protected_layer_keeps_its_blocks() -> None:
    blocks = find_blocks(find_channels(_nested(), ["stage"]), ["stage"])
    assert blocks
    assert not any(layer.startswith("stage/") for b in blocks for layer in b.layers)
