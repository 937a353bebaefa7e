"""Attention: heads, and the width of each head, are channels inside one layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgepress.compress.graph import channel_tensors
from edgepress.compress.structure.channels.ids import Ids, IntVector
from edgepress.compress.structure.channels.site import Site
from edgepress.compress.structure.rules.kernels import refuse_misread_bias
from edgepress.compress.structure.rules.merging import trace_unknown
from edgepress.compress.structure.rules.rule import Rule, Sizes


def _by_argument(site: Site, inputs: tuple[Ids, ...], names: tuple[str, ...]) -> list[Ids]:
    """Inputs in the order of the call's signature, whichever way they were passed."""
    arguments = site.node.arguments
    tensors = channel_tensors(site.node)
    ids = {id(t): i for t, i in zip(tensors, inputs, strict=True)}
    given = dict(zip(names, arguments.args, strict=False)) | dict(arguments.kwargs)
    return [ids[id(given[n])] for n in names if id(given.get(n)) in ids]


def _plain(layer: Any, inputs: tuple[Ids, ...]) -> bool:
    """Attention over one axis of (batch, time, channels), without gates."""
    axes = getattr(layer, "_attention_axes", None)
    return (
        all(i.rank == 3 for i in inputs[:2])
        and axes in (None, (1,), [1])
        and getattr(layer, "_gate_dense", None) is None
    )


def trace_multi_head(layer: Any, inputs: tuple[Ids, ...], site: Site) -> Any:
    """Three kinds of channels inside (heads, key width, value width), one that comes out."""
    given = _by_argument(site, inputs, ("query", "value", "key"))
    if not _plain(layer, inputs) or len(given) < 2:
        return trace_unknown(layer, inputs, site)
    query, value = given[:2]
    key = given[2] if len(given) > 2 else value
    heads = site.fresh(layer._query_dense.kernel, 1)
    width = site.fresh(layer._query_dense.kernel, 2)
    values = site.fresh(layer._value_dense.kernel, 2)
    _project(site, layer._query_dense, query, heads, width, asks=True)
    _project(site, layer._key_dense, key, heads, width)
    _project(site, layer._value_dense, value, heads, values)
    return _join(site, layer, heads, values)


def _project(
    site: Site, dense: Any, given: Ids, heads: IntVector, width: IntVector, asks: bool = False
) -> None:
    """Bind one projection. What a query lacks, no key can answer: its width counts as used."""
    role = site.uses if asks else site.makes
    site.uses(dense.kernel, 0, site.along(given, -1))
    site.makes(dense.kernel, 1, heads)
    role(dense.kernel, 2, width)
    if dense.bias is not None:
        site.makes(dense.bias, 0, heads)
        role(dense.bias, 1, width)


def _join(site: Site, layer: Any, heads: IntVector, values: IntVector) -> list[Ids]:
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


def resize_multi_head(layer: Any, config: dict[str, Any], sizes: Sizes) -> None:
    """Heads, both widths, and the output's width."""
    _, heads, key_dim = sizes.weight(layer._query_dense.kernel)
    config["num_heads"], config["key_dim"] = heads, key_dim
    config["value_dim"] = sizes.weight(layer._value_dense.kernel)[2]
    config["output_shape"] = (sizes.weight(layer._output_dense.kernel)[2],)
    _check_biases(layer, sizes)


def keep_scale(old: Any, new: Any) -> None:
    """Attention divides by the root of the key width: fold the change into the query."""
    before, after = (d._query_dense.kernel.shape[2] for d in (old, new))
    factor = math.sqrt(after / before)
    if factor != 1:
        for weight in new._query_dense.weights:
            weight.assign(np.asarray(weight) * factor)


def trace_grouped_query(layer: Any, inputs: tuple[Ids, ...], site: Site) -> Any:
    """As multi-head; a key-value head goes with the query heads that share it."""
    given = _by_argument(site, inputs, ("query", "value", "key"))
    if not _plain(layer, inputs) or len(given) < 2:
        return trace_unknown(layer, inputs, site)
    query, value = given[:2]
    key = given[2] if len(given) > 2 else value
    shared = site.fresh(layer._key_dense.kernel, 1)
    heads = np.repeat(shared, layer.num_query_heads // layer.num_key_value_heads)
    width = site.fresh(layer._query_dense.kernel, 2)
    _project(site, layer._query_dense, query, heads, width, asks=True)
    _project(site, layer._key_dense, key, shared, width)
    _project(site, layer._value_dense, value, shared, width)
    # The layer takes its output width from the query, so both stay.
    made = _join(site, layer, heads, width)
    site.trace.classes.unite(made[0].array.ravel(), site.along(query, -1))
    return made


def resize_grouped_query(layer: Any, config: dict[str, Any], sizes: Sizes) -> None:
    """Head counts and head width."""
    _, config["num_query_heads"], config["head_dim"] = sizes.weight(layer._query_dense.kernel)
    config["num_key_value_heads"] = sizes.weight(layer._key_dense.kernel)[1]
    _check_biases(layer, sizes)


def _check_biases(layer: Any, sizes: Sizes) -> None:
    """Heads that are one wide mustn't be as many as the steps: Keras would misread their bias."""
    for dense in (layer._query_dense, layer._key_dense, layer._value_dense):
        if dense.bias is not None:
            for steps in (sizes.input(0), sizes.input(1)):
                refuse_misread_bias(layer, sizes.weight(dense.bias), steps)


def trace_attention(_layer: Any, inputs: tuple[Ids, ...], site: Site) -> Any:
    """Queries and keys are multiplied with each other; the values' channels pass."""
    query, value = inputs[0], inputs[1]
    key = inputs[2] if len(inputs) > 2 else value
    for ids in (query, key):
        site.pin(ids, "{} multiplies queries with keys")
    vector = site.along(value, -1)
    extra = [site.pinned(f"'{site.path}' gives its scores", i) for i in range(1, len(site.shapes))]
    return [site.placed(vector, -1), *extra]


MULTI_HEAD = Rule(trace_multi_head, resize_multi_head, adjust=keep_scale)
GROUPED_QUERY = Rule(trace_grouped_query, resize_grouped_query, adjust=keep_scale)
ATTENTION = Rule(trace_attention)
