"""Attention in all its forms loses channels exactly: layers of any rank, and written by hand."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import ops
from pruned_twins import cut, inputs_for, masked, outputs_of, randomise, relative_gap

from edgepress.compress.structure.surgery.surgery import remove
from edgepress.compress.structure.tracing.groups import find_channels

L = keras.layers


def _parts(x, heads: int = 0):
    parts = [L.Dense(16, name=name)(x) for name in ("query", "key", "value")]
    return [ops.reshape(p, (-1, 6, heads, 16 // heads)) for p in parts] if heads else parts


def _by_matmul(x):
    query, key, value = _parts(x)
    return ops.matmul(ops.softmax(ops.matmul(query, ops.swapaxes(key, 1, 2))), value)


def _by_heads(heads: int):
    def attend(x):
        query, key, value = (ops.transpose(p, (0, 2, 1, 3)) for p in _parts(x, heads))
        scores = ops.softmax(ops.matmul(query, ops.swapaxes(key, 2, 3)) / 4.0)
        return ops.reshape(ops.transpose(ops.matmul(scores, value), (0, 2, 1, 3)), (-1, 6, 16))

    return attend


def _by_einsum(x):
    query, key, value = _parts(x, 2)
    scores = ops.softmax(ops.einsum("bqhd,bkhd->bhqk", query, key))
    return ops.reshape(ops.einsum("bhqk,bkhd->bqhd", scores, value), (-1, 6, 16))


def _by_dot(x):
    query, key, value = _parts(x)
    return L.Dot((2, 1))([L.Softmax()(L.Dot(2)([query, key])), value])


BY_HAND: dict[str, Callable] = {
    "matmul": _by_matmul,
    "heads": _by_heads(2),
    "many heads": _by_heads(8),
    "einsum": _by_einsum,
    "dot": _by_dot,
}
LAYERS: dict[str, tuple[tuple[int, ...], Callable]] = {
    "over both axes": (
        (3, 4, 6),
        lambda x: L.MultiHeadAttention(2, 8, attention_axes=(1, 2))(x, x),
    ),
    "along rows": ((3, 4, 6), lambda x: L.MultiHeadAttention(2, 8, attention_axes=2)(x, x)),
    "of images": ((3, 4, 6), lambda x: L.MultiHeadAttention(2, 8, value_dim=6)(x, x)),
    "gated": ((5, 6), lambda x: L.MultiHeadAttention(2, 8, use_gate=True)(x, x)),
    "grouped and gated": ((5, 6), lambda x: L.GroupQueryAttention(8, 4, 2, use_gate=True)(x, x)),
}


def _silenced(channels, alive, makers: tuple[str, ...]) -> keras.Model:
    """The twin in which nothing reads what is gone, and some layers give zeros there."""
    twin = masked(channels, alive)
    copies = dict(zip(map(id, channels.model.weights), twin.weights, strict=True))
    for binding, units in channels.bound:
        if binding.layer in makers and binding.role == "makes":
            value = np.array(keras.ops.convert_to_numpy(copies[id(binding.weight)]))
            value[(slice(None),) * binding.axis + (~alive[units],)] = 0
            copies[id(binding.weight)].assign(value)
    return twin


def _gap(model: keras.Model, makers: tuple[str, ...] = ()) -> float:
    channels = find_channels(randomise(model))
    alive = cut(channels, 0.5)
    small, inputs = remove(channels, alive).model, inputs_for(model)
    assert small.count_params() < model.count_params()
    return relative_gap(
        outputs_of(_silenced(channels, alive, makers), inputs), outputs_of(small, inputs)
    )


@pytest.mark.parametrize("kind", BY_HAND)
def test_attention_by_hand_loses_channels_exactly(kind: str) -> None:
    inputs = keras.Input((6, 5))
    model = keras.Model(inputs, L.Dense(3)(BY_HAND[kind](inputs)))
    groups = {frozenset(g.layers): g for g in find_channels(model).groups}
    assert groups[frozenset({"query", "key"})].prunable
    assert groups[frozenset({"value"})].prunable
    assert _gap(model, ("query",)) < 1e-4  # what a query lacks, no key can answer


@pytest.mark.parametrize("kind", LAYERS)
def test_attention_layers_lose_channels_exactly(kind: str) -> None:
    shape, change = LAYERS[kind]
    inputs = keras.Input(shape)
    model = keras.Model(inputs, L.Dense(3, name="after")(change(L.Dense(6)(inputs))))
    assert all(g.prunable for g in find_channels(model).groups if g.name != "after")
    assert _gap(model) < 1e-4


@pytest.mark.parametrize("tied", [True, False])
def test_a_table_that_leads_back_to_the_words_is_narrowed_at_both_ends(tied: bool) -> None:
    words = keras.Input((6,), dtype="int32")
    table = L.ReversibleEmbedding(20, 8, tie_weights=tied, logit_soft_cap=3.0, name="table")
    model = keras.Model(words, table(L.Dense(8)(L.Dense(12)(table(words))), reverse=True))
    assert all(g.prunable for g in find_channels(model).groups)
    assert _gap(model, ("table",)) < 1e-4


def test_products_that_would_lose_places_keep_their_channels_and_say_why() -> None:
    image = keras.Input((4, 6))
    crossed = ops.matmul(
        ops.swapaxes(L.Dense(8, name="a")(image), 1, 2), L.Dense(8, name="b")(image)
    )
    places = ops.einsum("bik,bjk->bij", L.Dense(4, name="c")(image), ops.swapaxes(image, 1, 2))
    model = keras.Model(image, [L.Flatten()(crossed), L.Flatten()(places)])
    reasons = {g.name: g.reason for g in find_channels(model).groups}
    assert "multiplies tensors with each other" in reasons["a"]
    assert "multiplies tensors with each other" in reasons["b"]
    assert "places of the other" in reasons["c"]
