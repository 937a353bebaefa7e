"""What is done to every input before the model sees it, in training and afterwards alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from edgepress.compress.data.preparation.presets import Linear, applied, check_preset, linear
from edgepress.compress.data.preparation.sound import SoundInput
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested

_COLOURS = 3
# Layers that take numbers of rows in a table.
_LOOKED_UP = ("Embedding", "IntegerLookup", "Hashing", "CategoryEncoding", "Discretization")
# A model's own preprocessing stands among so many of its first operations.
_FIRST = 6


class TargetPreparation(Protocol):
    """Prepares a batch of targets."""

    def __call__(self, targets: Nested) -> Nested:
        """Give the prepared batch, (batch, …)."""


class Front(Protocol):
    """The first part of a model, whose outputs are the inputs of the rest."""

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Give the inputs of the rest, by name."""


@dataclass(frozen=True)
class Preparation:
    """Scale, centre and resize inputs and cast them to the model's type.

    Attributes:
        dtypes: Element type of each of the model's inputs by name.
        preset: Name of a preparation of Keras's own, which takes the place of the next three.
        images: Names of the inputs that the preset is for.
        targets: What is done to targets, or None.
        sound: What is computed from the samples of sounds before all else, or None.
        front: What gives the inputs of a part of the model of those of the whole, or None.
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
    preset: str | None = None
    images: frozenset[str] = frozenset()
    targets: TargetPreparation | None = None
    sound: SoundInput | None = None
    front: Front | None = None

    @property
    def linear(self) -> Linear | None:
        """What is done to values as numbers; None where they stay as they are."""
        if self.preset is not None:
            found = linear(self.preset)
        elif (self.scale, self.mean, self.std) == (None, None, None):
            return None
        else:
            scale = self.scale or 1.0
            mean, std = self.mean or (0.0,), self.std or (1.0,)
            found = Linear(tuple(v / scale for v in mean), tuple(v / scale for v in std), False)
        return None if found.identity else found

    def __call__(
        self, inputs: Mapping[str, tf.Tensor], targets: Nested
    ) -> tuple[dict[str, tf.Tensor], Nested]:
        """Prepare one batch: inputs by name and targets."""
        prepared = {name: self._one(name, value) for name, value in inputs.items()}
        if self.front is not None:
            prepared = self.front(prepared)
        return prepared, targets if self.targets is None else self.targets(targets)

    def _one(self, name: str, value: tf.Tensor) -> tf.Tensor:
        import tensorflow as tf

        dtype = self.dtypes[name]
        if not dtype.startswith(("float", "bfloat")):
            return value if value.dtype.name == dtype else tf.cast(value, dtype)
        value = tf.cast(value, tf.float32)
        if self.sound is not None:
            value = self.sound(value)
        if self.resize is not None and value.shape.rank == 4:
            value = tf.image.resize(value, self.resize)
        if self.preset is not None and name not in self.images:
            return value
        return self.scaled(value)

    def scaled(self, value: tf.Tensor) -> tf.Tensor:
        """Values of one tensor, float32, scaled and centred."""
        import tensorflow as tf

        if self.preset is not None:
            return _by_preset(self.preset, value)
        if self.scale is not None:
            value = value * self.scale
        if self.mean is not None:
            value = value - tf.constant(self.mean, tf.float32)
        if self.std is not None:
            value = value / tf.constant(self.std, tf.float32)
        return value


def preparation_for(model: keras.Model, spec: DataSpec) -> Preparation:
    """The preparation that a specification asks for, checked against the model.

    Raises:
        InputError: The model carries the same preprocessing itself, there are more numbers than
            channels, or images get a size that the model doesn't take.
    """
    _check_once(model, spec)
    _check_resize(model, spec)
    images = _images(model, spec.preprocess) if spec.preprocess is not None else frozenset[str]()
    if spec.std is not None and any(s == 0 for s in spec.std):
        raise InputError("--std holds a zero")
    for name, values in (("mean", spec.mean), ("std", spec.std)):
        _check_channels(name, values, model)
    return Preparation(
        {t.name: str(t.dtype) for t in model.inputs},
        spec.scale,
        spec.mean,
        spec.std,
        spec.resize,
        spec.preprocess,
        images,
    )


def _check_resize(model: keras.Model, spec: DataSpec) -> None:
    """Refuse a size of images that the model doesn't take."""
    for tensor in model.inputs if spec.resize is not None else ():
        size = tuple(tensor.shape[1:3])
        if len(tensor.shape) == 4 and any(
            there not in (None, asked) for there, asked in zip(size, spec.resize or (), strict=True)
        ):
            asked = "x".join(map(str, spec.resize or ()))
            taken = "x".join("any" if n is None else str(n) for n in size)
            raise InputError(
                f"--resize {asked} makes images that the model's input '{tensor.name}' doesn't"
                f" take: its size is {taken}",
                "leave it out: images are read at the model's size",
            )


def _check_once(model: keras.Model, spec: DataSpec) -> None:
    """Refuse to scale what the model scales itself."""
    rescaling = own_rescaling(model)
    if rescaling is None or rescaling[1] >= 0.1:
        return
    option = "--scale" if spec.scale is not None and spec.scale < 0.1 else ""
    if spec.preprocess is not None:
        check_preset(spec.preprocess)
        option = "" if linear(spec.preprocess).identity else "--preprocess"
    if option:
        raise InputError(
            f"{option} would be applied twice: layer '{rescaling[0]}' of the model rescales its"
            " input already",
            f"leave {option} out",
        )


def _images(model: keras.Model, preset: str) -> frozenset[str]:
    """Names of the inputs that a preset is for: images, of real numbers, with three channels.

    Raises:
        InputError: There is no such preset or no such input.
    """
    check_preset(preset)
    found = frozenset(t.name for t in model.inputs if _is_colour_image(t))
    if not found:
        shapes = ", ".join(f"{tuple(t.shape[1:])} {t.dtype}" for t in model.inputs)
        raise InputError(
            f"--preprocess {preset} is for colour images as floats, the model takes {shapes}",
            "use --scale, --mean and --std",
        )
    return found


def _is_colour_image(tensor: keras.KerasTensor) -> bool:
    return (
        len(tensor.shape) == 4
        and _COLOURS in (tensor.shape[1], tensor.shape[-1])
        and str(tensor.dtype).startswith(("float", "bfloat"))
    )


def _by_preset(name: str, images: tf.Tensor) -> tf.Tensor:
    return applied(name, images, channels_first=images.shape[-1] != _COLOURS)


def _check_channels(name: str, values: tuple[float, ...] | None, model: keras.Model) -> None:
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


def measured_inputs(model: keras.Model) -> frozenset[str]:
    """Names of the inputs that take values, neither texts nor numbers of rows in a table."""
    looked_up = {
        id(tensor)
        for layer in flat_layers(model)
        if type(layer).__name__ in _LOOKED_UP
        for node in layer._inbound_nodes
        for tensor in node.input_tensors
    }
    return frozenset(t.name for t in model.inputs if id(t) not in looked_up and t.dtype != "string")


def own_rescaling(model: keras.Model) -> tuple[str, float] | None:
    """Name and factor of what rescales a model's input within it; None where nothing does.

    A Rescaling or Normalization layer (its factor is given as 0) among the first layers, or a
    division or multiplication of the input by a number, as `keras.applications` write it.
    """
    for operation in _flat(model, "operations")[:_FIRST]:
        kind = type(operation).__name__
        if kind == "Rescaling":
            scale = operation.scale
            factor = scale if isinstance(scale, int | float) else max(scale)
            return operation.name, float(factor)
        if kind == "Normalization":
            return operation.name, 0.0
        number = _factor_on_input(operation)
        if number is not None:
            return operation.name, number
    return None


def _factor_on_input(operation: keras.Operation) -> float | None:
    """The number that an operation multiplies a model's input by."""
    kind = type(operation).__name__
    if kind not in ("TrueDivide", "Divide", "Multiply") or not operation._inbound_nodes:
        return None
    node = operation._inbound_nodes[0]
    sources = [type(t._keras_history.operation).__name__ for t in node.input_tensors]
    numbers = [v for v in node.arguments.args if isinstance(v, int | float) and v]
    if sources != ["InputLayer"] or len(numbers) != 1:
        return None
    return float(numbers[0]) if kind == "Multiply" else 1 / numbers[0]


def flat_layers(model: keras.Model) -> list[Any]:
    """All layers in order, those of nested models in place."""
    return _flat(model, "layers")


def _flat(model: keras.Model, kind: str) -> list[Any]:
    found: list[Any] = []
    for part in getattr(model, kind, model.layers):
        found.extend(_flat(part, kind) if hasattr(part, "layers") else [part])
    return found
