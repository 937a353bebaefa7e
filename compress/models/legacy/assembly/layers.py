"""The table of layers whose configuration changed between Keras 2 and Keras 3.

A layer that isn't listed keeps its class name; settings that Keras 3's class doesn't take are left
out when they mean nothing (`DROPPED`), and are remarked otherwise.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.registry import Table
from edgepress.compress.models.legacy.assembly import attributes
from edgepress.compress.models.unknown_names import UnknownName, is_lambda

Config = dict[str, Any]
Change = Callable[[Config], tuple[str, Config]]

# Settings that a Keras 3 class may not know, and the values at which they change nothing.
DROPPED: dict[str, tuple[Any, ...]] = {
    "groups": (1, None),
    "time_major": (False, None),
    "ragged": (False, None),
    "sparse": (False, None),
    "dynamic": (False, None),
    "force_generator": (False, True, None),
    "rng_type": (None,),
    "stateful": (False, None),
    "virtual_batch_size": (None,),
    "adjustment": (None,),
    "fused": (True, False, None),
    "softmax_robust_masking": (False, None),
    "robust_masking": (False, None),
    "activity_regularizer": (None,),
    "trainable": (True,),
    "noise_shape": (None,),
}
# Settings that never change what a layer computes once its weights are known.
_MEANINGLESS = frozenset(
    {
        "batch_input_shape",
        "batch_size",
        "build_input_shape",
        "input_dtype",
        "input_length",
        "input_spec",
        "query_shape",
        "key_shape",
        "value_shape",
        "kernel_initializer",
        "kernel_regularizer",
        "kernel_constraint",
        "implementation",
        "consume_less",
        "dtype",
        "autocast",
        "experimental_autocast",
    }
)


def _same(name: str, **renamed: str) -> Change:
    """The class `name` of Keras 3, with settings renamed (old=new)."""

    def change(config: Config) -> tuple[str, Config]:
        for old, new in renamed.items():
            if old in config:
                config[new] = config.pop(old)
        return name, config

    return change


def _recurrent(name: str) -> Change:
    """A recurrent layer; `reset_after` defaulted to false before Keras 3."""

    def change(config: Config) -> tuple[str, Config]:
        if name.startswith("GRU"):
            config.setdefault("reset_after", False)
        return name, config

    return change


def _bidirectional(config: Config) -> tuple[str, Config]:
    """Two layers that were one in the file run opposite ways: Keras 3 lets both run backwards."""
    inner = config.get("layer") or {}
    own = inner.get("config") or {}
    if own.get("go_backwards") and not config.get("backward_layer"):
        back = {**own, "go_backwards": False, "name": f"backward_{own.get('name')}"}
        config["backward_layer"] = {**inner, "config": back}
    return "Bidirectional", config


def _cudnn(name: str) -> Change:
    """CuDNNLSTM and CuDNNGRU: the same cell, with a sigmoid and (GRU) two biases."""

    def change(config: Config) -> tuple[str, Config]:
        config.update(activation="tanh", recurrent_activation="sigmoid")
        if name == "GRU":
            config["reset_after"] = True
        return name, config

    return change


def _batch_norm(config: Config) -> tuple[str, Config]:
    axis = config.get("axis", -1)
    config["axis"] = int(axis[0]) if isinstance(axis, list) and len(axis) == 1 else axis
    config.pop("mode", None)
    return "BatchNormalization", config


def _sync_batch_norm(config: Config) -> tuple[str, Config]:
    return _batch_norm({**config, "synchronized": True})


def _layer_norm(config: Config) -> tuple[str, Config]:
    axis = config.get("axis", -1)
    config["axis"] = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    return "LayerNormalization", config


def _instance_norm(config: Config) -> tuple[str, Config]:
    """TensorFlow Addons' is a group normalization; keras-contrib's has its own formula."""
    if "groups" in config or "registered_name" in config:
        config["groups"] = -1
        return "GroupNormalization", config
    return "ContribInstanceNormalization", config


def _stochastic_depth(config: Config) -> tuple[str, Config]:
    """ConvNeXt's: whole samples of an image batch are dropped while training."""
    if "drop_path_rate" not in config:
        return "StochasticDepth", config
    rate = config.pop("drop_path_rate")
    return "Dropout", {**config, "rate": rate, "noise_shape": (None, 1, 1, 1)}


def _gelu(config: Config) -> tuple[str, Config]:
    """TensorFlow Addons' layer, which approximates unless told otherwise."""
    exact = not config.pop("approximate", True)
    return "Activation", {**config, "activation": "gelu" if exact else "Addons>gelu"}


def _additive_attention(config: Config) -> tuple[str, Config]:
    config.pop("score_mode", None)
    return "AdditiveAttention", config


def _embedding(config: Config) -> tuple[str, Config]:
    config.pop("input_length", None)
    return "Embedding", config


def _separable_1d(config: Config) -> tuple[str, Config]:
    if config.get("padding") != "causal":
        return "SeparableConv1D", config
    return "CausalSeparableConv1D", {**config, "padding": "valid"}


def _lambda(config: Config) -> tuple[str, Config]:
    raise UnknownName(
        "function",
        str(config.get("name")),
        f"layer '{config.get('name')}' is a Lambda whose Python code is stored in the file; "
        "code in old files is never run",
        f"define a function or layer named '{config.get('name')}' and pass it with "
        "--custom-objects file.py",
        is_code=True,
    )


def _random_crop(config: Config) -> tuple[str, Config]:
    """In inference the old layer gave the largest window of the target's shape, resized."""
    kept = {k: v for k, v in config.items() if k in ("name", "dtype", "height", "width")}
    return "Resizing", {**kept, "crop_to_aspect_ratio": True}


def _resizing(name: str) -> Change:
    """A layer that resizes images, by a method that Keras 3 has."""

    def change(config: Config) -> tuple[str, Config]:
        method = config.get("interpolation")
        if method in ("gaussian", "mitchellcubic"):
            raise InputError(
                f"layer '{config.get('name')}' ({name}) resizes by {method}, which Keras 3 lacks",
                "replace it by bilinear or bicubic and save the model again",
            )
        return name, config

    return change


def _vocabulary(name: str) -> Change:
    """A lookup; its words are carried where the configuration lists them."""

    def change(config: Config) -> tuple[str, Config]:
        words = config.get("vocabulary")
        if not isinstance(words, list | tuple):
            where = "in a table" if words is None else "in a file"
            raise InputError(
                f"layer '{config.get('name')}' ({name}) has its vocabulary {where} outside of the "
                "configuration, which can't be converted",
                "build the model in a function, with vocabulary=[…], and give file.py:function",
            )
        for key in ("vocabulary_size", "has_input_vocabulary"):
            config.pop(key, None)
        return name, config

    return change


def _identity(config: Config) -> tuple[str, Config]:
    return "Identity", {key: config[key] for key in ("name", "dtype") if key in config}


# Saved class name → Keras 3 class and settings. One entry per class whose settings changed.
LAYERS: Table[Change] = Table(
    "layer of Keras 2",
    {
        "BatchNormalization": _batch_norm,
        "BatchNormalizationV1": _batch_norm,
        "BatchNormalizationV2": _batch_norm,
        "SyncBatchNormalization": _sync_batch_norm,
        "LayerNormalization": _layer_norm,
        "InstanceNormalization": _instance_norm,
        "GELU": _gelu,
        "StochasticDepth": _stochastic_depth,
        "LeakyReLU": _same("LeakyReLU", alpha="negative_slope"),
        "GRU": _recurrent("GRU"),
        "GRUV1": _recurrent("GRU"),
        "GRUV2": _recurrent("GRU"),
        "GRUCell": _recurrent("GRUCell"),
        "LSTM": _recurrent("LSTM"),
        "LSTMV1": _recurrent("LSTM"),
        "LSTMV2": _recurrent("LSTM"),
        "UnifiedGRU": _recurrent("GRU"),
        "UnifiedLSTM": _recurrent("LSTM"),
        "SimpleRNN": _recurrent("SimpleRNN"),
        "RNN": _recurrent("RNN"),
        "Bidirectional": _bidirectional,
        "CuDNNLSTM": _cudnn("LSTM"),
        "CuDNNGRU": _cudnn("GRU"),
        "Embedding": _embedding,
        "AdditiveAttention": _additive_attention,
        "IntegerLookup": _vocabulary("IntegerLookup"),
        "StringLookup": _vocabulary("StringLookup"),
        "TextVectorization": _vocabulary("TextVectorization"),
        "Convolution1D": _same("Conv1D"),
        "Convolution2D": _same("Conv2D"),
        "Convolution3D": _same("Conv3D"),
        "SeparableConv1D": _separable_1d,
        "SeparableConvolution1D": _separable_1d,
        "SeparableConvolution2D": _same("SeparableConv2D"),
        "Convolution2DTranspose": _same("Conv2DTranspose"),
        "Convolution3DTranspose": _same("Conv3DTranspose"),
        "DepthwiseConvolution2D": _same("DepthwiseConv2D"),
        "Lambda": _lambda,
        "AddLoss": _identity,
        "AddMetric": _identity,
        "UpSampling2D": _resizing("UpSampling2D"),
        "Resizing": _resizing("Resizing"),
        "RandomCrop": _random_crop,
        "RandomHeight": _identity,
        "RandomWidth": _identity,
    },
)


@cache
def accepted(cls: Any) -> frozenset[str]:
    """The settings that a class takes, along its bases for as long as they take `**kwargs`."""
    names: set[str] = set()
    for base in cls.__mro__:
        init = base.__dict__.get("__init__")
        if init is None:
            continue
        taken = inspect.signature(init).parameters.values()
        names |= {p.name for p in taken if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if not any(p.kind == p.VAR_KEYWORD for p in taken):
            break
    return frozenset(names - {"self"})


def find_class(name: str) -> Any:
    """The Keras 3 class of a name, or edgepress's own of that name; None where neither exists."""
    import keras

    from edgepress.compress.models.compat_layers import (
        convolutions,
        custom,
        locally_connected,
        older_networks,
        published_layers,
    )

    for home in (custom, locally_connected, older_networks, convolutions, published_layers):
        found = vars(home).get(name)
        if isinstance(found, type) and found.__module__ == home.__name__ and name[0] != "_":
            return found
    found = getattr(keras.layers, name, None)
    return found if isinstance(found, type) else None


def translate_parts(
    config: Config, objects: Mapping[str, Any], remark: Callable[[str], None]
) -> Config:
    """Turn saved initializers, activations and so on into Keras 3's objects."""
    made = dict(config)
    for key, value in config.items():
        if key.endswith("_initializer"):
            made[key] = attributes.initializer(value, objects, remark)
        elif key.endswith("_regularizer"):
            made[key] = attributes.regularizer(value, objects, remark)
        elif key.endswith("_constraint"):
            made[key] = attributes.constraint(value, objects, remark)
        elif key in ("activation", "recurrent_activation") and is_lambda(value):
            made[key] = attributes.lambda_activation(str(config.get("name")), key, objects)
        elif key in ("activation", "recurrent_activation"):
            made[key] = attributes.activation(value, objects, remark)
        elif key == "dtype":
            made[key] = attributes.dtype(value)
        elif isinstance(value, list) and all(isinstance(item, int) for item in value):
            made[key] = tuple(value)
    return {key: value for key, value in made.items() if not (key == "dtype" and value is None)}


def fitted(cls: Any, config: Config, remark: Callable[[str], None]) -> Config:
    """Keep what the class takes; remark on what is left out and meant something."""
    known = accepted(cls)
    kept = {key: value for key, value in config.items() if key in known}
    for key, value in config.items():
        if key in known or key in _MEANINGLESS:
            continue
        if key not in DROPPED or not any(value is v or value == v for v in DROPPED[key]):
            remark(f"setting {key}={value!r} has no counterpart and is left out")
    if "data_format" in known and kept.get("data_format") is None:
        kept["data_format"] = "channels_last"
    return kept
