"""A Keras network as data that any framework can rebuild, and the way back of what was removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

# What a node needs beside its weights, by the class of its layer.
_OPTIONS = {
    "Conv2D": ("strides", "padding", "use_bias", "activation"),
    "DepthwiseConv2D": ("strides", "padding", "use_bias", "activation"),
    "BatchNormalization": ("epsilon",),
    "Activation": ("activation",),
    "AveragePooling2D": ("pool_size",),
    "GlobalAveragePooling2D": (),
    "Flatten": (),
    "Add": (),
    "Dense": ("use_bias", "activation"),
    "InputLayer": (),
}


def write_graph(model: Any, folder: Path) -> None:
    """Write `graph.json` and `weights.npz` of a network whose layers are each called once.

    A node has a `name`, a `kind` (class of its layer), its `inputs` by name, the shape of its
    output and the options of `_OPTIONS`; weights are named NODE/WEIGHT, as Keras lays them out.
    """
    nodes, weights = [], {}
    for layer in model.layers:
        kind = type(layer).__name__
        config = layer.get_config()
        (call,) = layer._inbound_nodes[:1]
        inputs = [t._keras_history.operation.name for t in call.input_tensors]
        options = {name: config[name] for name in _OPTIONS[kind]}
        shape = list(call.output_tensors[0].shape[1:])
        nodes.append(
            {"name": layer.name, "kind": kind, "inputs": inputs, "shape": shape, **options}
        )
        for weight in layer.weights:
            weights[f"{layer.name}/{weight.name}"] = weight.numpy()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "graph.json").write_text(json.dumps(nodes, indent=1))
    np.savez(folder / "weights.npz", **weights)


def cut(model: Any, kept: dict[str, list[int]]) -> Any:
    """A network with only some output channels of its layers, as another tool chose them.

    Args:
        model: The whole network.
        kept: For each layer with a kernel, the output channels that stay; the same for all layers
            of a group, as whatever slices a network must have it.
    """
    from edgepress.compress.structure.surgery.surgery import remove
    from edgepress.compress.structure.tracing.groups import find_channels

    channels = find_channels(model)
    alive = channels.all_alive()
    for group in channels.groups:
        for path in group.layers:
            if path in kept:
                stays = np.isin(np.arange(group.size), kept[path])
                alive[group.units] = stays
    return remove(channels, alive).model
