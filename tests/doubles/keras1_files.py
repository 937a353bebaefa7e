"""Model files as Keras 1 wrote them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Layers = Sequence[tuple[str, Sequence[np.ndarray]]]


def write_keras1(path: Path, class_name: str, config: Any, weights: Layers) -> Path:
    """A file as Keras 1.2 wrote it: weights of every layer, flat, by the layer's name."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"1.2.2"
        file.attrs["model_config"] = json.dumps(
            {"class_name": class_name, "config": config}
        ).encode()
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name, _ in weights]
        for name, arrays in weights:
            layer = group.create_group(name)
            names = [f"{name}_{place}".encode() for place in range(len(arrays))]
            layer.attrs["weight_names"] = names
            for key, array in zip(names, arrays, strict=True):
                layer[key.decode()] = array
    return path


def keras1_layer(class_name: str, name: str = "layer_1", **config: Any) -> dict[str, Any]:
    """A layer as a configuration holds it."""
    return {"class_name": class_name, "config": {"name": name, "trainable": True, **config}}
