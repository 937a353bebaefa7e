"""Attention: heads, and the width of each head, are channels inside one layer.

Written by hand it is products of activations (`matmul`, `einsum`, `Dot`): what they sum over goes
from both factors at once, and what isn't summed over passes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.graph import channel_tensors
from edgepress.compress.structure.channels.ids import Ids, IntVector
from edgepress.compress.structure.channels.site import Site
from edgepress.compress.structure.rules.kernels import has_lora, refuse_misread_bias
from edgepress.compress.structure.rules.merging import refuse, trace_unknown
from edgepress.compress.structure.rules.rule import Rule, Sizes

if TYPE_CHECKING:
    import keras

    from edgepress.compress.structure.rules.rule import Outputs


def _by_argument(site: Site, inputs: tuple[Ids, ...], names: tuple[str, ...]) -> list[Ids]:
    """Inputs in the order of the call's signature, whichever way they were passed."""
    arguments = site.node.arguments
    tensors = channel_tensors(site.node)
    ids = {id(t): i for t, i in zip(tensors, inputs, strict=True)}
    given = dict(zip(names, arguments.args, strict=False)) | dict(arguments.kwargs)
    return [ids[id(given[n])] for n in names if id(given.get(n)) in ids]


def _refused(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> list[Ids] | None:
    """What comes out where a layer's channels stay, with the reason; None where they may go."""
    names = ("_query_dense", "_key_dense", "_value_dense", "_output_dense", "_gate_dense")
    if any(has_lora(d) for d in (getattr(layer, n, None) for n in names) if d is not None):
        return refuse(inputs, site, "{} carries adapters or a quantised kernel")
    if len(layer._output_dense.kernel.shape) != 3:
        return refuse(inputs, site, "{} makes several axes of its outputs")
    axes = getattr(layer, "_attention_axes", None) or ()
    if any(inputs[0].axis(axis) == inputs[0].rank - 1 for axis in axes):
        return refuse(inputs, site, "{} attends over its channels")
    return None


def trace_multi_head(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """Three kinds of channels inside (heads, key width, value width), one that comes out."""
    given = _by_argument(site, inputs, ("query", "value", "key"))
    if len(given) < 2:
        return trace_unknown(layer, inputs, site)
    if (refused := _refused(layer, inputs, site)) is not None:
        return refused
    query, value = given[:2]
    key = given[2] if len(given) > 2 else value
    heads = site.fresh(layer._query_dense.kernel, 1)
    width = site.fresh(layer._query_dense.kernel, 2)
    values = site.fresh(layer._value_dense.kernel, 2)
    _project(site, layer._query_dense, query, heads, width, asks=True)
    _project(site, layer._key_dense, key, heads, width)
    _project(site, layer._value_dense, value, heads, values)
    if getattr(layer, "_gate_dense", None) is not None:
        _project(site, layer._gate_dense, query, heads, values)
    return _join(site, layer, heads, values)


def _project(
    site: Site,
    dense: keras.Layer,
    given: Ids,
    heads: IntVector,
    width: IntVector,
    asks: bool = False,
) -> None:
    """Bind one projection. What a query lacks, no key can answer: its width counts as used."""
    role = site.uses if asks else site.makes
    site.uses(dense.kernel, 0, site.along(given, -1))
    site.makes(dense.kernel, 1, heads)
    role(dense.kernel, 2, width)
    if dense.bias is not None:
        site.makes(dense.bias, 0, heads)
        role(dense.bias, 1, width)


def _join(site: Site, layer: keras.Layer, heads: IntVector, values: IntVector) -> list[Ids]:
    output = layer._output_dense
    site.uses(output.kernel, 0, heads)
    site.uses(output.kernel, 1, values)
    made = site.fresh(output.kernel, 2)
    site.makes(output.kernel, 2, made)
    site.makes(output.bias, 0, made)
    extra = [site.pinned(f"'{site.path}' gives its scores", i) for i in range(1, len(site.shapes))]
    if extra:
        site.pin(heads, "{} gives its scores, head by head")
    return [site.placed(made, -1), *extra]


def resize_multi_head(layer: keras.Layer, config: dict[str, Any], sizes: Sizes) -> None:
    """Heads, both widths, and the output's width."""
    _, heads, key_dim = sizes.weight(layer._query_dense.kernel)
    config["num_heads"], config["key_dim"] = heads, key_dim
    config["value_dim"] = sizes.weight(layer._value_dense.kernel)[2]
    config["output_shape"] = (sizes.weight(layer._output_dense.kernel)[2],)
    _check_biases(layer, sizes)


def keep_scale(old: keras.Layer, new: keras.Layer) -> None:
    """Attention divides by the root of the key width: fold the change into the query."""
    before, after = (d._query_dense.kernel.shape[2] for d in (old, new))
    factor = math.sqrt(after / before)
    if factor != 1:
        for weight in new._query_dense.weights:
            weight.assign(np.asarray(weight) * factor)


def trace_grouped_query(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """As multi-head; a key-value head goes with the query heads that share it."""
    given = _by_argument(site, inputs, ("query", "value", "key"))
    if len(given) < 2:
        return trace_unknown(layer, inputs, site)
    if (refused := _refused(layer, inputs, site)) is not None:
        return refused
    query, value = given[:2]
    key = given[2] if len(given) > 2 else value
    shared = site.fresh(layer._key_dense.kernel, 1)
    heads = np.repeat(shared, layer.num_query_heads // layer.num_key_value_heads)
    width = site.fresh(layer._query_dense.kernel, 2)
    _project(site, layer._query_dense, query, heads, width, asks=True)
    _project(site, layer._key_dense, key, shared, width)
    _project(site, layer._value_dense, value, shared, width)
    if getattr(layer, "_gate_dense", None) is not None:
        _project(site, layer._gate_dense, query, heads, width)
    # The layer takes its output width from the query, so both stay.
    made = _join(site, layer, heads, width)
    site.trace.classes.unite(made[0].array.ravel(), site.along(query, -1))
    return made


def resize_grouped_query(layer: keras.Layer, config: dict[str, Any], sizes: Sizes) -> None:
    """Head counts and head width."""
    _, config["num_query_heads"], config["head_dim"] = sizes.weight(layer._query_dense.kernel)
    config["num_key_value_heads"] = sizes.weight(layer._key_dense.kernel)[1]
    _check_biases(layer, sizes)


def _check_biases(layer: keras.Layer, sizes: Sizes) -> None:
    """Heads that are one wide mustn't be as many as the steps: Keras would misread their bias."""
    for dense in (layer._query_dense, layer._key_dense, layer._value_dense):
        if dense.bias is not None:
            for steps in (sizes.input(0), sizes.input(1)):
                refuse_misread_bias(layer, sizes.weight(dense.bias), steps)


def trace_attention(_layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """Queries and keys are multiplied with each other; the values' channels pass."""
    query, value = inputs[0], inputs[1]
    key = inputs[2] if len(inputs) > 2 else value
    for ids in (query, key):
        site.pin(ids, "{} multiplies queries with keys")
    vector = site.along(value, -1)
    extra = [site.pinned(f"'{site.path}' gives its scores", i) for i in range(1, len(site.shapes))]
    return [site.placed(vector, -1), *extra]


def trace_matmul(operation: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """`keras.ops.matmul`: the last axis of one is summed with the last but one of the other."""
    ranks = {ids.rank for ids in inputs}
    if len(inputs) != 2 or len(ranks) != 1 or min(ranks) < 3:
        return trace_unknown(operation, inputs, site)
    lead = _ALPHABET[: ranks.pop() - 2]
    return _contract((f"{lead}YX", f"{lead}XZ", f"{lead}YZ"), inputs, site)


def trace_einsum(operation: keras.Operation, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """`keras.ops.einsum` of two tensors, the samples first in all."""
    left, _, out = operation.subscripts.replace(" ", "").partition("->")
    letters = (*left.split(","), out)
    plain = all(part.isalpha() and len(set(part)) == len(part) for part in letters)
    if len(letters) != 3 or len(inputs) != 2 or not plain or len({p[0] for p in letters}) > 1:
        return trace_unknown(operation, inputs, site)
    return _contract(letters, inputs, site)


def trace_dot(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """The layer `Dot`: one axis of each is summed with the other."""
    axes = layer.axes if isinstance(layer.axes, (list, tuple)) else (layer.axes,) * 2
    one, other = (ids.axis(axis) for ids, axis in zip(inputs, axes, strict=True))
    if 0 in (one, other) or layer.normalize:
        return refuse(inputs, site, "{} multiplies tensors with each other")
    mine = ["A", *_ALPHABET[1 : inputs[0].rank]]
    theirs = ["A", *_ALPHABET[inputs[0].rank : inputs[0].rank + inputs[1].rank - 1]]
    theirs[other] = mine[one]
    out = [x for x in mine if x != mine[one]] + [x for x in theirs[1:] if x != mine[one]]
    return _contract(("".join(mine), "".join(theirs), "".join(out)), inputs, site)


_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVW"
_TOGETHER = "{} sums over channels of one tensor and places of the other"


def _contract(letters: Sequence[str], inputs: Sequence[Ids], site: Site) -> Outputs:
    """A product of two activations: what is summed over goes on both sides, the rest passes.

    Args:
        letters: Axes of both factors and of the product, one letter each, the samples first.
        inputs: Ids of the factors.
        site: Where.
    """
    out = letters[2]
    found = [_principal(ids, letters, own) for own, ids in enumerate(inputs)]
    if any(letter and letter not in out for letter in found):
        if found[0] != found[1]:
            return refuse(inputs, site, _TOGETHER)
        site.trace.classes.unite(
            *(_channels(*given, site) for given in _named(inputs, letters, found))
        )
        return site.pinned(f"'{site.path}' sums over its channels")
    shared = [x for x in found if x and all(x in axes for axes in letters)]
    if (all(found) and found[0] != found[1]) or len(shared) == 1:
        return refuse(inputs, site, "{} multiplies tensors with each other")
    vectors = [
        _channels(ids, axes, letter, site)
        for ids, axes, letter in _named(inputs, letters, found)
        if letter
    ]
    if not vectors:
        return site.pinned(f"'{site.path}' multiplies tensors without channels")
    for other in vectors[1:]:
        site.trace.classes.unite(vectors[0], other)
    return site.placed(vectors[0], out.index(found[0] or found[1]))


def _named(
    inputs: Sequence[Ids], letters: Sequence[str], found: Sequence[str]
) -> list[tuple[Ids, str, str]]:
    return list(zip(inputs, letters[:2], found, strict=True))


def _principal(ids: Ids, letters: Sequence[str], own: int) -> str:
    """The axis of a factor that its channels are counted along; empty where it has none.

    One that is summed over where there is any, then one that the other factor lacks.
    """
    axes, other, out = letters[own], letters[1 - own], letters[2]
    varying = [axes[axis] for axis in ids.varying]
    kinds = ([x for x in varying if x not in out], [x for x in varying if x not in other], varying)
    choices = next((kind for kind in kinds if kind), [])
    return max(choices, key=lambda x: (ids.array.shape[axes.index(x)], axes.index(x)), default="")


def _channels(ids: Ids, axes: str, letter: str, site: Site) -> IntVector:
    """The channel of each position of an axis; what lies in one slice goes together."""
    axis = axes.index(letter)
    return site.trace.classes.unite_across(ids.spread([axis]), axis)


MULTI_HEAD = Rule(trace_multi_head, resize_multi_head, adjust=keep_scale)
GROUPED_QUERY = Rule(trace_grouped_query, resize_grouped_query, adjust=keep_scale)
ATTENTION = Rule(trace_attention)
MATMUL = Rule(trace_matmul)
EINSUM = Rule(trace_einsum)
DOT = Rule(trace_dot)
