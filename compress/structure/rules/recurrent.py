"""Recurrent layers, and the wrappers around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.graph import graph_of
from edgepress.compress.structure.channels.ids import Ids, IntVector
from edgepress.compress.structure.channels.site import Site
from edgepress.compress.structure.rules.activations import mixes
from edgepress.compress.structure.rules.merging import meet, refuse, trace_unknown
from edgepress.compress.structure.rules.movement import concatenate
from edgepress.compress.structure.rules.rule import Outputs, Rule, Sizes

if TYPE_CHECKING:
    import keras


def _cell_ids(layer: keras.Layer, given: IntVector, gates: int, site: Site) -> IntVector:
    """Bind a cell: a unit has one place in every gate, and one row in the recurrent kernel."""
    cell = layer.cell
    before = site.trace.bound(cell.recurrent_kernel, -2)
    units = int(cell.recurrent_kernel.shape[-2])
    ids = before.ids if before is not None else site.trace.classes.fresh(units)
    gated = np.tile(ids, gates)
    site.uses(cell.kernel, -2, given)
    site.makes(cell.kernel, -1, gated)
    site.uses(cell.recurrent_kernel, -2, ids)
    site.makes(cell.recurrent_kernel, -1, gated)
    if cell.bias is not None:
        site.makes(cell.bias, -1, gated)
    if mixes(cell):
        site.pin(ids, "{} has an activation over all its units")
    return ids


def _recurrent(gates: int, axis_of: Callable[[Any], int]) -> Callable[..., Any]:
    def trace(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Outputs:
        axis = axis_of(layer)
        ids = _cell_ids(layer, site.along(inputs[0], axis), gates, site)
        for state in inputs[1:]:
            site.trace.classes.unite(site.along(state, axis), ids)
        return [site.placed(ids, axis, index) for index in range(len(site.shapes))]

    return trace


def _last(_layer: keras.Layer) -> int:
    return -1


def _channels(layer: keras.Layer) -> int:
    return -3 if layer.cell.data_format == "channels_first" else -1


def _channels_1d(layer: keras.Layer) -> int:
    return -2 if layer.cell.data_format == "channels_first" else -1


def _channels_3d(layer: keras.Layer) -> int:
    return -4 if layer.cell.data_format == "channels_first" else -1


def resize_units(layer: keras.Layer, config: dict[str, Any], sizes: Sizes) -> None:
    """`units`."""
    config["units"] = sizes.weight(layer.cell.recurrent_kernel)[0]


def resize_filters(layer: keras.Layer, config: dict[str, Any], sizes: Sizes) -> None:
    """`filters`."""
    config["filters"] = sizes.weight(layer.cell.recurrent_kernel)[-2]


def _inner_rule(layer: keras.Layer) -> Rule:
    from edgepress.compress.structure.rules.lookup import rule_for

    return rule_for(layer)


def trace_bidirectional(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """Two layers whose matching units are tied; concatenated, united, or side by side."""
    forward, backward = layer.forward_layer, layer.backward_layer
    rule = _inner_rule(forward)
    if rule.resize is None:
        return trace_unknown(layer, inputs, site)
    if layer.return_state:
        return refuse(inputs, site, "{} gives the states of two directions")
    shape = _one_shape(layer, site)
    states = len(inputs) // 2
    ahead, back = (
        _first(rule.trace(one, (inputs[0], *given), site.within(one, (shape,))))
        for one, given in (
            (forward, inputs[1 : 1 + states]),
            (backward, inputs[1 + states :]),
        )
    )
    # Keras takes both directions to be equally wide, so matching units stay or go together.
    site.trace.classes.unite(ahead.array, back.array)
    if layer.merge_mode is None:
        return [ahead, back]
    if layer.merge_mode == "concat":
        return concatenate([ahead, back], -1, site.shapes[0])
    return meet([ahead, back], site)


def _first(made: Outputs) -> Ids:
    return made if isinstance(made, Ids) else made[0]


def _one_shape(layer: keras.Layer, site: Site) -> tuple[int | None, ...]:
    """Output shape of one of the two directions."""
    if layer.merge_mode != "concat":
        return site.shapes[0]
    *lead, width = site.shapes[0]
    return (*lead, (width or 0) // 2)


def resize_bidirectional(layer: keras.Layer, config: dict[str, Any], sizes: Sizes) -> None:
    """The configurations of both layers."""
    import keras

    resize = _inner_rule(layer.forward_layer).resize
    for key, inner in (("layer", layer.forward_layer), ("backward_layer", layer.backward_layer)):
        held = keras.saving.serialize_keras_object(inner)
        held.pop("build_config", None)
        if resize is not None:
            resize(inner, held["config"], sizes)
        config[key] = held


def trace_time_distributed(layer: keras.Layer, inputs: tuple[Ids, ...], site: Site) -> Outputs:
    """The inner layer on ids without the time axis, which carries no channels."""
    inner = layer.layer
    if graph_of(inner) is not None:
        return refuse(inputs, site, "{} runs a whole model at each step")
    if inputs[0].array.shape[1] > 1:
        return refuse(inputs, site, "{} treats these channels as time steps")
    given = tuple(Ids(i.array[:, 0], (i.shape[0], *i.shape[2:])) for i in inputs)
    shapes = tuple((s[0], *s[2:]) for s in site.shapes)
    out = _inner_rule(inner).trace(inner, given, site.within(inner, shapes))
    parts = [out] if isinstance(out, Ids) else list(out)
    return [Ids(o.array[:, None], s) for o, s in zip(parts, site.shapes, strict=True)]


def resize_time_distributed(layer: keras.Layer, config: dict[str, Any], sizes: Sizes) -> None:
    """The inner layer's configuration."""
    resize = _inner_rule(layer.layer).resize
    config["layer"].pop("build_config", None)
    if resize is not None:
        resize(layer.layer, config["layer"]["config"], WithoutTime(sizes))


class WithoutTime:
    """Sizes as the layer inside a TimeDistributed sees them."""

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes

    def weight(self, weight: keras.Variable) -> tuple[int, ...]:
        """Shape of a weight."""
        return self._sizes.weight(weight)

    def input(self, index: int = 0) -> tuple[int | None, ...]:
        """Shape of an input without its time axis."""
        shape = self._sizes.input(index)
        return (shape[0], *shape[2:])

    def output(self, index: int = 0) -> tuple[int | None, ...]:
        """Shape of an output without its time axis."""
        shape = self._sizes.output(index)
        return (shape[0], *shape[2:])

    def kept(self, axis: int) -> NDArray[np.bool_]:
        """Which positions of an axis stay; the axis counted without time."""
        return self._sizes.kept(axis + 1 if axis > 0 else axis)


SIMPLE_RNN = Rule(_recurrent(1, _last), resize_units)
GRU = Rule(_recurrent(3, _last), resize_units)
LSTM = Rule(_recurrent(4, _last), resize_units)
CONV_LSTM_1D = Rule(_recurrent(4, _channels_1d), resize_filters)
CONV_LSTM_2D = Rule(_recurrent(4, _channels), resize_filters)
CONV_LSTM_3D = Rule(_recurrent(4, _channels_3d), resize_filters)
BIDIRECTIONAL = Rule(trace_bidirectional, resize_bidirectional)
TIME_DISTRIBUTED = Rule(trace_time_distributed, resize_time_distributed)
