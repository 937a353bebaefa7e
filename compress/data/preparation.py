"""What is done to every input before the model sees it, in training and afterwards alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec


@dataclass(frozen=True)
class Preparation:
    """Scale, centre and resize inputs and cast them to the model's type.

    Attributes:
        dtypes: Element type of each of the model's inputs by name.
        scale: Factor, or None.
        mean: Subtracted after scaling, one number or one for each channel.
        std: Divisor after that.
        resize: (height, width) or None.
    """

    dtypes: dict[str, str]
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize: tuple[int, int] | None = None

    def __call__(self, inputs: Any, targets: Any) -> Any:
        """Prepare one batch: inputs by name and targets."""
        return {name: self._one(name, value) for name, value in inputs.items()}, targets

    def _one(self, name: str, value: Any) -> Any:
        import tensorflow as tf

        dtype = self.dtypes[name]
        if not dtype.startswith(("float", "bfloat")):
            return value if value.dtype.name == dtype else tf.cast(value, dtype)
        value = tf.cast(value, tf.float32)
        if self.resize is not None and value.shape.rank == 4:
            value = tf.image.resize(value, self.resize)
        if self.scale is not None:
            value = value * self.scale
        if self.mean is not None:
            value = value - tf.constant(self.mean, tf.float32)
        if self.std is not None:
            value = value / tf.constant(self.std, tf.float32)
        return value


def preparation_for(model: Any, spec: DataSpec) -> Preparation:
    """The preparation that a specification asks for, checked against the model.

    Raises:
        InputError: The model carries the same preprocessing itself, or there are more numbers than
            channels.
    """
    rescaling = own_rescaling(model)
    if spec.scale is not None and spec.scale < 0.1 and rescaling and rescaling[1] < 0.1:
        raise InputError(
            f"--scale would be applied twice: layer '{rescaling[0]}' of the model rescales its"
            " input already",
            "leave --scale out",
        )
    if spec.std is not None and any(s == 0 for s in spec.std):
        raise InputError("--std holds a zero")
    for name, values in (("mean", spec.mean), ("std", spec.std)):
        _check_channels(name, values, model)
    return Preparation(
        {t.name: str(t.dtype) for t in model.inputs}, spec.scale, spec.mean, spec.std, spec.resize
    )


def _check_channels(name: str, values: tuple[float, ...] | None, model: Any) -> None:
    """Refuse as many numbers as no channel, or another number of them, would take."""
    for tensor in model.inputs:
        channels = tensor.shape[-1]
        floats = str(tensor.dtype).startswith(("float", "bfloat"))
        if values is None or not floats or len(values) == 1 or len(values) == channels:
            continue
        if channels is None and values:
            continue
        raise InputError(
            f"--{name} has {len(values)} numbers, and the model's input '{tensor.name}' has"
            f" {channels} channels",
            "give one number, or one for each channel",
        )


def own_rescaling(model: Any) -> tuple[str, float] | None:
    """Name and factor of a Rescaling (or Normalization) layer among the model's first layers."""
    for layer in flat_layers(model)[:6]:
        kind = type(layer).__name__
        if kind == "Rescaling":
            factor = layer.scale if isinstance(layer.scale, int | float) else max(layer.scale)
            return layer.name, float(factor)
        if kind == "Normalization":
            return layer.name, 0.0
    return None


def flat_layers(model: Any) -> list[Any]:
    """All layers in order, those of nested models in place."""
    found: list[Any] = []
    for layer in model.layers:
        found.extend(flat_layers(layer) if hasattr(layer, "layers") else [layer])
    return found
