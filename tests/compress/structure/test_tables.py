"""Contracts over the tables of rules and criteria, and rules of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from architectures import MODELS
from pruned_twins import cut, inputs_for, masked, outputs_of, randomise, relative_gap

from edgepress.compress.structure.importance import CRITERIA
from edgepress.compress.structure.rules import RULES, SAME, lookup, register_rule, rule_for
from edgepress.compress.structure.rules.merging import UNKNOWN
from edgepress.compress.structure.surgery.surgery import remove
from edgepress.compress.structure.tracing.groups import find_channels

L = keras.layers


@pytest.mark.parametrize("kind", RULES, ids=lambda k: k.__name__)
def test_every_entry_is_a_layer_class_with_a_rule(kind: type) -> None:
    assert issubclass(kind, keras.Layer)
    assert callable(RULES[kind].trace)
    assert RULES[kind].trace.__doc__ or RULES[kind].trace.__qualname__.startswith("_recurrent")


def test_the_small_models_reach_the_rules_that_have_sizes() -> None:
    """A rule that writes a configuration is only trusted where a model of the tests uses it."""
    seen = {type(layer) for build in MODELS.values() for layer in build()._flatten_layers()}
    sized = {kind for kind, rule in RULES.items() if rule.resize is not None}
    untried = {k.__name__ for k in sized - seen}
    # The last is tried in test_attention.py.
    assert untried == {"LayerScale", "ConvLSTM1D", "ConvLSTM3D", "ReversibleEmbedding"}


@pytest.mark.parametrize("name", ["ConvLSTM1D", "ConvLSTM3D"])
def test_convolutional_recurrence_in_one_and_three_dimensions(name: str) -> None:
    rank = int(name[-2])
    layer = getattr(L, name)(4, 2)
    stack = [keras.Input((2, *[4] * rank, 2)), layer, L.Flatten(), L.Dense(2)]
    model = randomise(keras.Sequential(stack))
    channels = find_channels(model)
    alive = cut(channels, 0.5)
    inputs = inputs_for(model)
    expected = outputs_of(masked(channels, alive), inputs)
    assert relative_gap(expected, outputs_of(remove(channels, alive).model, inputs)) < 1e-4


def test_criteria_say_what_they_need() -> None:
    for criterion in CRITERIA.values():
        assert criterion.needs in ("", "inputs", "targets")
        assert callable(criterion.score)


class Gain(L.Layer):
    def build(self, shape: tuple[int | None, ...]) -> None:
        self.gain = self.add_weight(shape=(shape[-1],), name="gain")

    def call(self, inputs: Any) -> Any:
        return inputs * self.gain


class Twisted(L.Dense):
    def call(self, inputs: Any) -> Any:
        return super().call(inputs)[..., ::-1]


class Plain(L.Dense):
    """A subclass that computes what its base class does."""


@pytest.fixture
def registered() -> Iterator[None]:
    yield
    lookup.REGISTERED.clear()


def _model(layer: keras.Layer) -> keras.Model:
    return randomise(keras.Sequential([keras.Input((6,)), L.Dense(8), layer, L.Dense(3)]))


def test_an_unknown_layer_pins_with_its_class_name() -> None:
    channels = find_channels(_model(Gain(name="mine")))
    reasons = [g.reason for g in channels.groups]
    assert "'mine' is a Gain, for which there is no rule" in reasons


@pytest.mark.parametrize("how", ["decorator", "call", "same"])
def test_a_rule_of_the_users_own(how: str, registered: None) -> None:
    def trace(layer: Any, inputs: Any, site: Any) -> Any:
        site.carries(layer.gain, 0, site.along(inputs[0], -1))
        return inputs[0]

    if how == "decorator":
        assert register_rule(Gain)(trace) is trace
    elif how == "call":
        register_rule(Gain, trace)
    else:
        register_rule(L.Activation, SAME)
    model = _model(L.Activation("tanh") if how == "same" else Gain())
    channels = find_channels(model)
    alive = cut(channels, 0.5)
    small = remove(channels, alive).model
    inputs = inputs_for(model)
    assert small.layers[0].kernel.shape == (6, 4)
    gap = relative_gap(outputs_of(masked(channels, alive), inputs), outputs_of(small, inputs))
    assert gap < 1e-5


def test_subclasses_follow_their_base_unless_they_compute_something_else() -> None:
    assert rule_for(Plain(3)) is RULES[L.Dense]
    assert rule_for(Twisted(3)) is UNKNOWN


def test_shared_layers_and_nested_models_stay_shared() -> None:
    model = MODELS["gates_and_nesting"]()
    channels = find_channels(model)
    small = remove(channels, cut(channels, 0.5)).model
    assert [x.name for x in small.layers] == [x.name for x in model.layers]
    assert len(small.get_layer("twice")._inbound_nodes) == 2


def test_frozen_layers_stay_frozen() -> None:
    model = MODELS["gates_and_nesting"]()
    model.get_layer("twice").trainable = False
    channels = find_channels(model)
    small = remove(channels, cut(channels, 0.5)).model
    assert len(small.trainable_weights) == len(model.trainable_weights)
    assert not small.get_layer("twice").trainable_weights


def test_training_goes_on_with_the_optimizers_state() -> None:
    from edgepress.compress.structure.surgery.optimizer_slots import carry_optimizer

    model = randomise(keras.Sequential([keras.Input((6,)), L.Dense(8, name="a"), L.Dense(3)]))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 6)), rng.normal(size=(32, 3))
    model.fit(x, y, epochs=2, verbose=0)
    channels = find_channels(model)
    alive = cut(channels, 0.5)
    surgery = remove(channels, alive)
    optimizer = carry_optimizer(surgery)
    kept = surgery.kept(model.layers[0].kernel)[1]
    moments = {v.path: v.numpy() for v in model.optimizer.variables}
    carried = {v.path: v.numpy() for v in optimizer.variables}
    for path, value in carried.items():
        if path.endswith("a_kernel_momentum"):
            (source,) = [v for p, v in moments.items() if p.endswith("a_kernel_momentum")]
            assert np.array_equal(value, source[:, kept])
            assert value.any()
    assert int(optimizer.iterations) == int(model.optimizer.iterations) == 2
    surgery.model.compile(optimizer, "mse")
    surgery.model.fit(x, y, epochs=1, verbose=0)
    assert int(optimizer.iterations) == 3
