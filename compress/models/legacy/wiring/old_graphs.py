"""Keras 1's `Graph` models, written as the functional models that they are.

Its nodes have names of their own, beside those of their layers: a layer bears the name of the
output that it gives, where it gives one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Config = dict[str, Any]


def is_graph(config: Any) -> bool:
    """Whether a configuration is that of a `Graph`."""
    return isinstance(config, dict) and "node_config" in config and "input_config" in config


def functional(config: Mapping[str, Any]) -> Config:
    """The configuration of the same model in today's form.

    Args:
        config: `input_config`, `node_config`, `output_config` and `nodes` of a `Graph`.

    Returns:
        `layers`, `input_layers` and `output_layers`; layers still with Keras 1's settings.

    Raises:
        KeyError: A part is missing.
    """
    graph = _Graph()
    inputs = [graph.start(given) for given in config["input_config"]]
    for node in config["node_config"]:
        graph.node(node, config["nodes"])
    outputs = [graph.joined(str(given["name"]), given) for given in config["output_config"]]
    return {
        "name": str(config.get("name") or "graph"),
        "layers": graph.layers,
        "input_layers": inputs,
        "output_layers": outputs,
    }


class _Graph:
    """The layers so far, and where the tensor of each node is."""

    def __init__(self) -> None:
        self.layers: list[Config] = []
        self.places: dict[str, list[Any]] = {}

    def start(self, given: Mapping[str, Any]) -> list[Any]:
        """Add an input; the place of its tensor."""
        name = str(given["name"])
        shape = given.get("batch_input_shape") or [None, *given["input_shape"]]
        kind = "int32" if str(given.get("dtype", "")).startswith("int") else "float32"
        config = {"name": name, "batch_input_shape": shape, "dtype": kind}
        self.places[name] = self._add("InputLayer", config, [])
        return self.places[name]

    def node(self, node: Mapping[str, Any], layers: Mapping[str, Any]) -> None:
        """Add a layer that is called once, or one that is shared."""
        name = str(node["name"])
        if "layer" not in node:
            place = self.joined(f"merge_inputs_for_{name}", node)
            self.places[name] = self._layer(layers[name], name, [[place]])
            return
        given = [self.places[source] for source in node["inputs"]]
        first = self._layer(node["layer"], name, [[place] for place in given])
        calls = [[first[0], call, 0] for call in range(len(given))]
        if node.get("merge_mode"):
            self.places[name] = self._merge(name, node, calls)
            return
        for output, call in zip(node["outputs"], calls, strict=True):
            config = {"name": output, "activation": "linear"}
            self.places[output] = self._add("Activation", config, [[call]])

    def joined(self, name: str, node: Mapping[str, Any]) -> list[Any]:
        """The one tensor that goes into a node or an output: merged where there are several."""
        if node.get("input"):
            return self.places[node["input"]]
        return self._merge(name, node, [self.places[source] for source in node["inputs"]])

    def _merge(self, name: str, node: Mapping[str, Any], places: Sequence[Any]) -> list[Any]:
        config = {
            "name": name,
            "mode": node.get("merge_mode", "concat"),
            "concat_axis": node.get("concat_axis", -1),
            "dot_axes": node.get("dot_axes", -1),
        }
        return self._add("Merge", config, [list(places)])

    def _layer(self, spec: Mapping[str, Any], node: str, calls: list[Any]) -> list[Any]:
        config = spec.get("config", spec)
        if "class_name" not in spec:
            # Before Keras 1, the class stood where the name is now.
            config = {**config, "name": config.get("custom_name") or node}
            return self._add(str(spec["name"]), config, calls)
        return self._add(str(spec["class_name"]), config, calls, node)

    def _add(self, class_name: str, config: Any, calls: list[Any], node: str = "") -> list[Any]:
        named = config.get("name") if isinstance(config, dict) else None
        name = str(named or node)
        spec = {"class_name": class_name, "name": name, "config": config, "inbound_nodes": calls}
        self.layers.append(spec)
        return [name, 0, 0]
