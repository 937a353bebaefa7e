"""A task that a CIFAR-10 network was not trained for: five classes in another colour balance.

Shared by the studies of unfreezing and of learning rates.
"""

from __future__ import annotations

import argparse
from typing import Any

import keras
import numpy as np

CLASSES = (0, 2, 4, 6, 8)
# Factors of red, green and blue after their order is turned round.
_BALANCE = np.array([1.1, 0.6, 0.8])


def parser() -> argparse.ArgumentParser:
    """What the studies on this task are told."""
    found = argparse.ArgumentParser()
    found.add_argument("model")
    found.add_argument("data")
    found.add_argument("--samples", type=int, default=2000)
    found.add_argument("--epochs", type=int, default=5)
    found.add_argument("--seeds", type=int, default=1)
    return found


def shifted(path: str, samples: int, seed: int = 0) -> dict[str, Any]:
    """Arrays by split: `samples` for training and validation together, all for test."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    data: dict[str, Any] = {}
    for split in ("train", "test"):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"].ravel()
        chosen = np.flatnonzero(np.isin(y, CLASSES))
        if split == "train":
            chosen = np.random.default_rng(seed).permutation(chosen)[:samples]
        coloured = np.clip(x[chosen][..., ::-1] * _BALANCE, 0, 255).astype(np.uint8)
        data[f"x_{split}"] = coloured
        data[f"y_{split}"] = np.searchsorted(CLASSES, y[chosen]).astype(np.int64)
    return data


def with_new_head(model: keras.Model, seed: int = 0) -> keras.Model:
    """The network with an output layer for the new classes, which starts at random."""
    keras.utils.set_random_seed(seed)
    features = model.layers[-1].input
    outputs = keras.layers.Dense(len(CLASSES), activation="softmax", name="new_head")(features)
    return keras.Model(model.inputs, outputs)
