"""Layers of published networks, by the names under which their code saved them.

A name that several people gave to different things is taken only with the settings that the one
meant here has; with others the layer is unknown, and refused like any of the user's own.
"""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]
_EVERY = frozenset({"name", "trainable", "dtype", "batch_input_shape"})


def published(class_name: str, config: Config) -> tuple[str, Config] | None:
    """Today's class and settings of a published network's layer.

    Args:
        class_name: The saved class, one of `PUBLISHED`.
        config: Its saved settings.

    Returns:
        None where its settings are those of something else.
    """
    name, known, change = PUBLISHED[class_name]
    changed = change(dict(config)) if config.keys() <= known | _EVERY else None
    return None if changed is None else (name, changed)


def _kept(*names: str) -> Any:
    return lambda config: {k: v for k, v in config.items() if k in {*_EVERY, *names}}


def _per_sample(config: Config) -> Config:
    """Dropout of whole samples of an image batch."""
    keys = ("drop_connect_rate", "drop_rate", "rate")
    rate = next((config[key] for key in keys if key in config), 0.0)
    return {**_kept()(config), "rate": rate, "noise_shape": (None, 1, 1, 1)}


def _activation(name: str) -> Any:
    return lambda config: {**_kept()(config), "activation": name}


def _frozen_norm(config: Config) -> Config:
    """Normalisation by statistics that training never changes."""
    return {**_kept("axis", "epsilon")(config), "trainable": False}


def _shuffler(config: Config) -> Config | None:
    """With the channels last only."""
    if config.get("data_format") not in (None, "channels_last"):
        return None
    return {**_kept()(config), "size": config.get("size", config.get("scale_factor", 2))}


def _reflection(config: Config) -> Config | None:
    """With equal sides only: which of two comes first differs between the layers of this name."""
    padding = config.get("padding", 1)
    sides = {padding} if isinstance(padding, int) else {*padding}
    return {**_kept()(config), "padding": sides.pop()} if len(sides) == 1 else None


_NORM = frozenset({"epsilon", "axis", "momentum", "mode", "gamma_regularizer", "beta_regularizer"})
_RATES = frozenset({"drop_connect_rate", "drop_rate", "rate"})
_DROPOUT = frozenset({"rate", "noise_shape", "seed"})
# Saved class → today's class, the settings it may have, and how they change.
PUBLISHED: dict[str, tuple[str, frozenset[str], Any]] = {
    "L2Normalization": ("L2Normalization", frozenset({"gamma_init"}), _kept()),
    "Normalize": ("L2Normalization", frozenset(), _kept()),
    "Scale": ("Scale", frozenset({"axis", "momentum"}), _kept("axis")),
    "FixedBatchNormalization": ("BatchNormalization", _NORM, _frozen_norm),
    "PixelShuffler": ("PixelShuffler", frozenset({"size", "data_format"}), _shuffler),
    "SubPixelUpscaling": (
        "PixelShuffler",
        frozenset({"scale_factor", "data_format"}),
        _shuffler,
    ),
    "ReflectionPadding2D": ("ReflectionPadding2D", frozenset({"padding"}), _reflection),
    "FixedDropout": ("Dropout", _DROPOUT, _kept(*_DROPOUT)),
    "DropConnect": ("Dropout", _RATES, _per_sample),
    "Swish": ("Activation", frozenset(), _activation("swish")),
    "Mish": ("Activation", frozenset(), _activation("mish")),
    "HardSwish": ("Activation", frozenset(), _activation("hard_silu")),
    "HSwish": ("Activation", frozenset(), _activation("hard_silu")),
    "hswish": ("Activation", frozenset(), _activation("hard_silu")),
}
