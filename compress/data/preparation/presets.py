"""Preparation by name, as `keras.applications` defines it for the models that it holds."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.registry import near_names

if TYPE_CHECKING:
    import tensorflow as tf

MODES = ("caffe", "tf", "torch")
_TOP = 255.0
_COLOURS = 3


@dataclass(frozen=True)
class Linear:
    """What a preset does to a pixel, as numbers.

    A value becomes (value - `mean`) / `std`.

    Attributes:
        mean: One for each channel as the model sees them.
        std: Likewise.
        reversed: Whether red and blue change places first, so that the model sees BGR.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    reversed: bool

    @property
    def identity(self) -> bool:
        """Whether nothing is changed."""
        return set(self.mean) == {0.0} and set(self.std) == {1.0} and not self.reversed

    def pairs(self) -> list[tuple[float, float]]:
        """Mean and divisor of each channel, or one pair for all."""
        count = max(len(self.mean), len(self.std))
        means, stds = (v * (count // len(v)) for v in (self.mean, self.std))
        return list(zip(means, stds, strict=True))


def check_preset(name: str) -> None:
    """Refuse a name that isn't one.

    Raises:
        InputError: Keras has no such mode and no such application.
    """
    if name not in MODES and _application(name) is None:
        raise InputError(
            f"'{name}' is no preprocessing of keras.applications",
            near_names(name, [*MODES, *_modules()]),
        )


def applied(name: str, images: tf.Tensor, channels_first: bool = False) -> tf.Tensor:
    """Images as Keras's own function of a preset gives them.

    Args:
        name: A mode, or the name of an application: of its module (`resnet_v2`) or of a model in
            it (`ResNet50V2`).
        images: (batch, height, width, channels) float32 tensor of values from 0 to 255, RGB.
        channels_first: Whether the channels come before height and width.

    Returns:
        The tensor, prepared.
    """
    import keras

    layout = "channels_first" if channels_first else "channels_last"
    if name in MODES:
        function = functools.partial(keras.applications.imagenet_utils.preprocess_input, mode=name)
    else:
        module = _application(name)
        assert module is not None
        function = module.preprocess_input
    return function(images, data_format=layout)


@functools.cache
def linear(name: str) -> Linear:
    """The numbers of a preset, found by trying it on pixels."""
    import tensorflow as tf

    lit = np.concatenate([np.zeros((1, _COLOURS)), _TOP * np.eye(_COLOURS)])
    pixels = tf.constant(lit[:, None, None, :], tf.float32)
    dark, *bright = applied(name, pixels).numpy()[:, 0, 0].astype(np.float64)
    slopes = (np.array(bright) - dark) / _TOP
    backwards = not slopes[0, 0]
    slope = np.diag(slopes[::-1] if backwards else slopes)
    mean, std = -dark / slope + 0.0, 1 / slope
    # Of float32 results: what lies behind the seventh digit is rounding.
    rounded = [tuple(float(f"{v:.6g}") for v in values) for values in (mean, std)]
    return Linear(rounded[0], rounded[1], backwards)


def _application(name: str) -> ModuleType | None:
    """The module of an application, by its own name or that of a model in it."""
    import keras

    wanted = _plain(name)
    for module, found in _modules().items():
        if _plain(module) == wanted:
            return found
    for model in dir(keras.applications):
        build = getattr(keras.applications, model)
        if _plain(model) == wanted and callable(build):
            home = sys.modules.get(build.__module__)
            return home if hasattr(home, "preprocess_input") else None
    return None


def _modules() -> dict[str, ModuleType]:
    from keras import applications

    found = {name: getattr(applications, name) for name in dir(applications)}
    return {
        name: module
        for name, module in found.items()
        if isinstance(module, ModuleType)
        and hasattr(module, "preprocess_input")
        and name != "imagenet_utils"
    }


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
