"""The table of Keras 1's layers: its names, its settings, its kernel layouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgepress.compress.kernel.registry import Table

Config = dict[str, Any]
Change = Callable[[Config], tuple[str, Config]]

# Settings that only changed their name.
_RENAMED = {
    "init": "kernel_initializer",
    "inner_init": "recurrent_initializer",
    "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer",
    "U_regularizer": "recurrent_regularizer",
    "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint",
    "bias": "use_bias",
    "border_mode": "padding",
    "subsample": "strides",
    "subsample_length": "strides",
    "filter_length": "kernel_size",
    "nb_filter": "filters",
    "inner_activation": "recurrent_activation",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
    "gamma_init": "gamma_initializer",
    "beta_init": "beta_initializer",
    "pool_length": "pool_size",
    "stride": "strides",
}
_ORDERINGS = {"th": "channels_first", "tf": "channels_last", "default": "channels_last"}


def modern(config: Config) -> Config:
    """Keras 1's settings under Keras 2's names."""
    made: Config = {}
    for key, value in config.items():
        if key == "dim_ordering":
            made["data_format"] = _ORDERINGS.get(value, "channels_last")
        else:
            made[_RENAMED.get(key, key)] = value
    if made.get("activity_regularizer") is None:
        made.pop("activity_regularizer", None)
    return made


def _plain(name: str) -> Change:
    def change(config: Config) -> tuple[str, Config]:
        return name, modern(config)

    return change


def _unit(name: str, units: str = "units", **extra: str) -> Change:
    """A layer whose size was `output_dim` and whose `input_dim` was redundant."""

    def change(config: Config) -> tuple[str, Config]:
        made = modern(config)
        made[units] = made.pop("output_dim")
        made.pop("input_dim", None)
        made.pop("input_length", None)
        for old, new in extra.items():
            made[new] = made.pop(old)
        return name, made

    return change


def _recurrent(name: str) -> Change:
    def change(config: Config) -> tuple[str, Config]:
        _, made = _unit(name)(config)
        made.pop("forget_bias_init", None)
        if name == "GRU":
            made["reset_after"] = False
        return name, made

    return change


def _kernel(name: str, *sides: str) -> Change:
    """A convolution whose kernel size was given side by side; with `atrous_rate`, dilated."""

    def change(config: Config) -> tuple[str, Config]:
        made = modern(config)
        if sides:
            made["kernel_size"] = [made.pop(side) for side in sides]
        for key in ("input_dim", "input_length", "output_shape"):
            made.pop(key, None)
        rate = made.pop("atrous_rate", None)
        if rate is not None:
            made["dilation_rate"] = rate
        return name, made

    return change


def _separable(config: Config) -> tuple[str, Config]:
    name, made = _kernel("SeparableConv2D", "nb_row", "nb_col")(config)
    made.pop("kernel_initializer", None)
    return name, made


def _deconvolution(config: Config) -> tuple[str, Config]:
    """Keras 1 was told the output's size; a stride of 2 and more leaves a choice of it.

    Source: `output = stride · (input - 1) + kernel + rest`, without the kernel where padded.
    """
    name, made = _kernel("Conv2DTranspose", "nb_row", "nb_col")(config)
    strides = made.get("strides", (1, 1))
    first = made.get("data_format") == "channels_first"
    sizes = (config.get("output_shape") or [None] * 4)[2 if first else 1 :][:2]
    if None in sizes:
        return name, made
    sides = list(zip(sizes, made["kernel_size"], strides, strict=True))
    if made.get("padding") == "same":
        rests = [(size - kernel % 2) % stride for size, kernel, stride in sides]
        usual = all(size % stride == 0 for size, _, stride in sides)
    else:
        rests = [(size - kernel) % stride for size, kernel, stride in sides]
        usual = rests == [max(stride - kernel, 0) for _, kernel, stride in sides]
    return name, made if usual else {**made, "output_padding": rests}


def _conv_lstm(config: Config) -> tuple[str, Config]:
    name, made = _kernel("ConvLSTM2D", "nb_row", "nb_col")(config)
    made.pop("forget_bias_init", None)
    return name, made


def _rate(name: str, old: str, new: str = "rate") -> Change:
    def change(config: Config) -> tuple[str, Config]:
        made = modern(config)
        made[new] = made.pop(old)
        return name, made

    return change


def _prelu(config: Config) -> tuple[str, Config]:
    made = modern({k: v for k, v in config.items() if k not in ("init", "weights")})
    return "PReLU", {**made, "alpha_initializer": config.get("init", "zero")}


def _pad2d(config: Config) -> tuple[str, Config]:
    made = modern(config)
    padding = made.get("padding", (1, 1))
    if isinstance(padding, dict):
        sides = ("top_pad", "bottom_pad"), ("left_pad", "right_pad")
        made["padding"] = [[padding.get(a, 0), padding.get(b, 0)] for a, b in sides]
    elif len(padding) == 4:
        made["padding"] = [padding[:2], padding[2:]]
    return "ZeroPadding2D", made


def _pad1d(config: Config) -> tuple[str, Config]:
    made = modern(config)
    padding = made.get("padding", 1)
    if isinstance(padding, dict):
        made["padding"] = [padding.get("left_pad", 0), padding.get("right_pad", 0)]
    return "ZeroPadding1D", made


def _without(name: str, *settings: str) -> Change:
    """A layer some of whose settings only said how its weights began."""

    def change(config: Config) -> tuple[str, Config]:
        return name, modern({k: v for k, v in config.items() if k not in settings})

    return change


def _upsampling1d(config: Config) -> tuple[str, Config]:
    made = modern(config)
    made["size"] = made.pop("length")
    return "UpSampling1D", made


def _batch_norm(config: Config) -> tuple[str, Config]:
    made = modern(config)
    mode = made.pop("mode", 0)
    if mode in (1, 2):
        named = ("name", "axis", "epsilon", "trainable", "batch_input_shape")
        kept: Config = {key: made[key] for key in named if key in made}
        return "UnlearnedNormalization", {**kept, "mode": mode}
    return "BatchNormalization", made


def _embedding(config: Config) -> tuple[str, Config]:
    made = modern(config)
    made["embeddings_initializer"] = made.pop("kernel_initializer", "uniform")
    made["embeddings_regularizer"] = made.pop("kernel_regularizer", None)
    made["embeddings_constraint"] = made.pop("kernel_constraint", None)
    for key in ("dropout", "input_length", "weights"):
        made.pop(key, None)
    return "Embedding", made


def _maxout(config: Config) -> tuple[str, Config]:
    _, made = _unit("MaxoutDense")(config)
    made["features"] = made.pop("nb_feature")
    return "MaxoutDense", made


def _highway(config: Config) -> tuple[str, Config]:
    made = modern(config)
    for key in ("input_dim", "transform_bias"):
        made.pop(key, None)
    return "Highway", made


# Keras 1 class → today's class and settings.
KERAS1: Table[Change] = Table(
    "layer of Keras 1",
    {
        "Dense": _unit("Dense"),
        "TimeDistributedDense": _unit("Dense"),
        "MaxoutDense": _maxout,
        "Highway": _highway,
        "Convolution1D": _kernel("Conv1D"),
        "AtrousConvolution1D": _kernel("Conv1D"),
        "Convolution2D": _kernel("Conv2D", "nb_row", "nb_col"),
        "AtrousConvolution2D": _kernel("Conv2D", "nb_row", "nb_col"),
        "Deconvolution2D": _deconvolution,
        "Convolution3D": _kernel("Conv3D", "kernel_dim1", "kernel_dim2", "kernel_dim3"),
        "SeparableConvolution2D": _separable,
        "LocallyConnected1D": _kernel("LocallyConnected1D"),
        "LocallyConnected2D": _kernel("LocallyConnected2D", "nb_row", "nb_col"),
        "ConvLSTM2D": _conv_lstm,
        "LSTM": _recurrent("LSTM"),
        "GRU": _recurrent("GRU"),
        "SimpleRNN": _recurrent("SimpleRNN"),
        "Embedding": _embedding,
        "BatchNormalization": _batch_norm,
        "Dropout": _rate("Dropout", "p"),
        "SpatialDropout1D": _rate("SpatialDropout1D", "p"),
        "SpatialDropout2D": _rate("SpatialDropout2D", "p"),
        "SpatialDropout3D": _rate("SpatialDropout3D", "p"),
        "GaussianDropout": _rate("GaussianDropout", "p"),
        "GaussianNoise": _rate("GaussianNoise", "sigma", "stddev"),
        "ZeroPadding1D": _pad1d,
        "ZeroPadding2D": _pad2d,
        "Cropping1D": _plain("Cropping1D"),
        "UpSampling1D": _upsampling1d,
        "LeakyReLU": _rate("LeakyReLU", "alpha", "negative_slope"),
        "PReLU": _prelu,
        "ParametricSoftplus": _without("ParametricSoftplus", "alpha_init", "beta_init"),
        "SReLU": _without("SReLU", "t_left_init", "a_left_init", "t_right_init", "a_right_init"),
    },
)


def change(class_name: str, config: Config) -> tuple[str, Config]:
    """Today's class name and settings of a Keras 1 layer."""
    entry = KERAS1[class_name] if class_name in KERAS1 else _plain(class_name)
    return entry(dict(config))


# Keras 1 `Merge` modes → today's merging layers.
MERGES = {
    "sum": "Add",
    "mul": "Multiply",
    "ave": "Average",
    "max": "Maximum",
    "concat": "Concatenate",
    "dot": "Dot",
    "cos": "CosineMerge",
}


def merge(config: Config) -> tuple[str, Config]:
    """The merging layer that a Keras 1 `Merge` layer means.

    Raises:
        KeyError: The mode is a Python function.
    """
    mode = config.get("mode", "sum")
    made: Config = {"name": config.get("name")}
    if mode == "concat":
        made["axis"] = config.get("concat_axis", -1)
    elif mode == "dot":
        axes = config.get("dot_axes", -1)
        made["axes"] = (
            [a[0] if isinstance(a, list) else a for a in axes] if isinstance(axes, list) else axes
        )
    return MERGES[mode], made
