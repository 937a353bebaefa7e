"""A network whose decisions are close, so that rounding changes some."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def decided_by_a_hair() -> tuple[keras.Model, dict[str, tuple[Any, Any]]]:
    """A network that was never trained, and data labelled by its own decisions."""
    keras.utils.set_random_seed(0)
    series = keras.Input((12,))
    x = keras.layers.Dense(16, activation="relu")(series)
    model = keras.Model(series, keras.layers.Dense(6, activation="softmax")(x))
    samples = np.random.default_rng(0).normal(size=(400, 12)).astype("float32")
    labels = np.asarray(model(samples)).argmax(-1)
    halves = {"train": slice(200), "val": slice(200, None)}
    return model, {name: (samples[half], labels[half]) for name, half in halves.items()}
