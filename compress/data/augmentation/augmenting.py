"""A sequence of random changes, read from text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgepress.compress.data.augmentation.boxes import as_targets, boxes_in
from edgepress.compress.data.augmentation.changes import AUGMENTATIONS, Change
from edgepress.compress.data.augmentation.layers import LAYERS, LayerStep, Targets, flat
from edgepress.compress.data.augmentation.own import OwnStep
from edgepress.compress.data.augmentation.span import Span
from edgepress.compress.data.tasks import Task
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.registry import near_names
from edgepress.compress.models.user_code import is_reference

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested

# Changes a batch: (images, targets, seed) → (images, targets).
Step = Callable[[Any, Any, Any], tuple[Any, Any]]
_IMAGE_RANK = 4
_MOVING = ("flip", "flip-vertical", "crop")


@dataclass(frozen=True)
class Augmentation:
    """A sequence of random changes; empty changes nothing.

    Attributes:
        changes: In order.
        image_input: Name of the input that is changed.
        mixing: The change that mixes samples, so that targets become shares; empty for none.
    """

    changes: tuple[Step, ...] = ()
    image_input: str = ""
    mixing: str = ""

    @property
    def own(self) -> tuple[OwnStep, ...]:
        """Functions of the user's among the changes."""
        return tuple(change for change in self.changes if isinstance(change, OwnStep))

    def __call__(
        self, inputs: dict[str, tf.Tensor], targets: Nested, seed: tf.Tensor
    ) -> tuple[Any, Any]:
        """Change one batch: inputs by name and targets; `seed` is a (2,) integer tensor."""
        import tensorflow as tf

        if not self.changes:
            return inputs, targets
        value = inputs[self.image_input]
        for number, change in enumerate(self.changes):
            here = tf.random.experimental.stateless_fold_in(seed, number)
            value, targets = change(value, targets, here)
        return {**inputs, self.image_input: value}, targets


def parse_augmentation(
    texts: tuple[str, ...],
    model: keras.Model,
    task: Task,
    span: Callable[[], Span],
    of_boxes: bool = False,
) -> Augmentation:
    """Read texts such as `flip`, `crop:4` or `file.py:function`, also several behind commas.

    Args:
        texts: As people write them.
        model: The Keras model.
        task: What it is asked to do.
        span: The values that images have, asked for where a change depends on them.
        of_boxes: Whether targets are boxes.

    Raises:
        InputError: A name or an amount is wrong, the model takes no images, or its targets can't
            follow a change.
    """
    targets: Targets = "boxes" if of_boxes else _targets_of(task)
    changes: list[Step] = []
    mixing = ""
    for text in (part.strip() for joined in texts for part in joined.split(",")):
        name, _, amount = text.partition(":")
        if name not in AUGMENTATIONS and name not in LAYERS:
            if not is_reference(text):
                raise InputError(
                    f"there is no augmentation '{name}'",
                    near_names(name, [*AUGMENTATIONS, *LAYERS]),
                )
            changes.append(OwnStep(text))
        elif name in LAYERS:
            changes.append(_layer_step(text, name, amount, model, task, targets, span))
            mixing = name if LAYERS[name].mixes else mixing
        else:
            changes.append(_plain_step(text, name, amount, model, targets))
    return Augmentation(tuple(changes), model.inputs[0].name, mixing)


def check_moves(texts: Sequence[str]) -> None:
    """Refuse changes that move images in a way that boxes can't follow.

    Raises:
        InputError: Names the change.
    """
    for name in (part.strip().partition(":")[0] for text in texts for part in text.split(",")):
        moves = name in LAYERS and (LAYERS[name].moves or LAYERS[name].mixes)
        if moves and not LAYERS[name].boxes:
            able = [*_MOVING, *(other for other in LAYERS if LAYERS[other].boxes)]
            raise InputError(
                f"augmentation '{name}' moves images, and boxes would stay where they were",
                f"boxes follow {', '.join(able)}, or file.py:function",
            )


def _targets_of(task: Task) -> Targets:
    """What the targets of a task are to a change."""
    if len(task.outputs) > 1:
        return "others"
    if task.kind != "image-to-image":
        return "labels"
    return "masks" if "crossentropy" in task.loss or "hinge" in task.loss else "pictures"


def _plain_step(text: str, name: str, amount: str, model: keras.Model, targets: Targets) -> Step:
    known = AUGMENTATIONS[name]
    value = _amount(text, amount, known.default, known.low, known.high)
    if known.of == "images":
        _check_images(name, model)
    elif known.of == "sequences":
        _check_sequences(name, model)
    if targets in ("masks", "pictures") and name in _MOVING:
        _check_sizes(name, model)
    return _with_targets(known.change, value, targets)


def _with_targets(change: Change, amount: float, what: Targets) -> Step:
    """A change whose targets move along where they are images or boxes."""

    def step(images: tf.Tensor, targets: Any, seed: tf.Tensor) -> tuple[tf.Tensor, Any]:
        if what == "boxes":
            images, boxes = change(images, boxes_in(targets), amount, seed)
            return images, as_targets(boxes, targets)
        if what not in ("masks", "pictures"):
            return change(images, None, amount, seed)[0], targets
        planes = targets[..., None] if flat(targets) else targets
        images, planes = change(images, planes, amount, seed)
        return images, planes[..., 0] if flat(targets) else planes

    return step


def _layer_step(
    text: str,
    name: str,
    amount: str,
    model: keras.Model,
    task: Task,
    targets: Targets,
    span: Callable[[], Span],
) -> Step:
    known = LAYERS[name]
    value = _amount(text, amount, known.default, known.low, known.high)
    _check_images(name, model)
    shape = tuple(model.inputs[0].shape[1:])
    if known.colours and shape[-1] not in (1, 3):
        raise InputError(f"augmentation '{name}' needs images of 1 or 3 channels, not {shape[-1]}")
    if (known.moves or known.mixes) and targets in ("masks", "pictures"):
        _check_sizes(name, model)
    if known.mixes:
        _check_mixing(name, task, targets)
    return LayerStep(known, value, span(), targets, shape)


def _check_images(name: str, model: keras.Model) -> None:
    if len(model.inputs[0].shape) != _IMAGE_RANK:
        raise InputError(f"augmentation '{name}' needs images, the model takes none")


def _check_sequences(name: str, model: keras.Model) -> None:
    shape = tuple(model.inputs[0].shape[1:])
    several = len(model.outputs[0].shape) > 2
    floats = str(model.inputs[0].dtype).startswith(("float", "bfloat"))
    if not floats or several or len(shape) not in (2, 3) or shape[2:] not in ((), (1,)):
        raise InputError(
            f"augmentation '{name}' needs sequences (steps, features) with one answer each, the"
            f" model takes {shape} and gives {tuple(model.outputs[0].shape[1:])}"
        )


def _check_sizes(name: str, model: keras.Model) -> None:
    """Refuse to move target images of another size, which would move by other amounts."""
    sizes = [tuple(t.shape[1:3]) for t in (model.inputs[0], model.outputs[0])]
    if None not in (*sizes[0], *sizes[1]) and sizes[0] != sizes[1]:
        raise InputError(
            f"augmentation '{name}' moves images, and the model's output has another size:"
            f" {sizes[0][0]}x{sizes[0][1]} and {sizes[1][0]}x{sizes[1][1]}",
            "leave it out, or use a function of your own",
        )


def _check_mixing(name: str, task: Task, targets: Targets) -> None:
    """Refuse targets that have no mean."""
    if targets == "others":
        raise InputError(f"augmentation '{name}' is for models with one output")
    if name == "mixup" and targets == "masks":
        raise InputError(
            "augmentation 'mixup' mixes pixels, and class numbers of masks have no mean",
            "take cutmix",
        )
    if name == "cutmix" and task.kind == "regression":
        raise InputError(
            "augmentation 'cutmix' puts a part of an image into another, and values of parts have"
            " no mean",
            "take mixup",
        )


def _amount(text: str, amount: str, default: float, low: float, high: float) -> float:
    try:
        value = float(amount) if amount else default
    except ValueError:
        raise InputError(f"augmentation '{text}': '{amount}' is not a number") from None
    if not low <= value <= high:
        raise InputError(f"augmentation '{text}' must lie between {low:g} and {high:g}")
    return value
