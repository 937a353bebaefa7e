"""A sequence of random changes, read from text."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgepress.compress.data.augmentation.batch import IMAGE_RANK, Batch, Overlay, overlay_of
from edgepress.compress.data.augmentation.boxes import as_targets, boxes_in
from edgepress.compress.data.augmentation.changes import AUGMENTATIONS, Change
from edgepress.compress.data.augmentation.layers import LAYERS, LayerStep
from edgepress.compress.data.augmentation.own import OwnStep
from edgepress.compress.data.augmentation.span import Span
from edgepress.compress.data.tasks import Task
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.registry import near_names
from edgepress.compress.models.user_code import is_reference

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested, SampleWeights

# Changes a batch by a seed.
Step = Callable[[Batch, Any], Batch]
_ROWS_RANK = 2
_MOVING = ("flip", "flip-vertical", "crop")


@dataclass(frozen=True)
class Augmentation:
    """A sequence of random changes; empty changes nothing.

    Attributes:
        changes: In order.
        mixing: The change that mixes samples, so that targets become shares; empty for none.
        remarks: What should be known of them, one line each.
    """

    changes: tuple[Step, ...] = ()
    mixing: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def own(self) -> tuple[OwnStep, ...]:
        """Functions of the user's among the changes."""
        return tuple(change for change in self.changes if isinstance(change, OwnStep))

    def __call__(
        self,
        inputs: dict[str, tf.Tensor],
        targets: Nested,
        seed: tf.Tensor,
        weights: SampleWeights | None = None,
    ) -> tuple[Any, ...]:
        """Change one batch.

        Args:
            inputs: (batch, …) tensors by name.
            targets: (batch, …) tensor, or one for each output.
            seed: (2,) integer tensor.
            weights: What each sample or place counts, or None.

        Returns:
            Inputs and targets, and weights where there are any.
        """
        import tensorflow as tf

        batch = Batch(inputs, targets, weights)
        for number, change in enumerate(self.changes):
            batch = change(batch, tf.random.experimental.stateless_fold_in(seed, number))
        found = (batch.inputs, batch.targets)
        return found if weights is None else (*found, batch.weights)


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
    over = overlay_of(task, of_boxes)
    changes: list[Step] = []
    mixing = ""
    moves: list[str] = []
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
            changes.append(_layer_step(text, name, amount, model, task, over, span))
            mixing = name if LAYERS[name].mixes else mixing
        else:
            changes.append(_plain_step(text, name, amount, model, over))
        moves += [name] if name in _MOVING or (name in LAYERS and LAYERS[name].moves) else []
    return Augmentation(tuple(changes), mixing, _left_behind(moves, task, over))


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


def _left_behind(moves: Sequence[str], task: Task, over: Overlay) -> tuple[str, ...]:
    """What to say of targets that can't be known to move with their images."""
    if not moves or over.boxes:
        return ()
    return tuple(
        f"augmentation '{moves[0]}' moves images; targets of output '{output.name}' mean something"
        " to its loss alone, and stay as they are"
        for output in task.outputs
        if output.kind == "own"
    )


def _plain_step(text: str, name: str, amount: str, model: keras.Model, over: Overlay) -> Step:
    known = AUGMENTATIONS[name]
    value = _amount(text, amount, known.default, known.low, known.high)
    if known.of == "images":
        names = _images(name, model)
    elif known.of == "sequences":
        names = _sequence(name, model)
    else:
        names = _changeable(model)
    if name in _MOVING:
        _check_sizes(name, model, over)
    return _changing(known.change, value, names, over, name in _MOVING)


def _changing(
    change: Change, amount: float, names: Sequence[str], over: Overlay, moves: bool
) -> Step:
    """A change of some inputs, which targets and weights that lie over them follow if it moves."""

    def step(batch: Batch, seed: tf.Tensor) -> Batch:
        import tensorflow as tf

        if over.boxes:
            images, boxes = change(batch.inputs[names[0]], boxes_in(batch.targets), amount, seed)
            boxed = dataclasses.replace(batch, targets=as_targets(boxes, batch.targets))
            return boxed.changed(**{names[0]: images})

        def changed(value: tf.Tensor, here: tf.Tensor) -> tf.Tensor:
            return change(value, None, amount, here)[0]

        # What moves, moves alike in all images of a sample; noise and the like are each one's own.
        fold = tf.random.experimental.stateless_fold_in
        seeds = [seed if moves or not n else fold(seed, n) for n in range(len(names))]
        found = {
            name: changed(batch.inputs[name], here) for name, here in zip(names, seeds, strict=True)
        }
        batch = batch.changed(**found)
        return over.moved(batch, lambda planes, _: changed(planes, seed)) if moves else batch

    return step


def _layer_step(
    text: str,
    name: str,
    amount: str,
    model: keras.Model,
    task: Task,
    over: Overlay,
    span: Callable[[], Span],
) -> Step:
    known = LAYERS[name]
    value = _amount(text, amount, known.default, known.low, known.high)
    names = _images(name, model)
    shapes = [tuple(t.shape[1:]) for t in _image_inputs(model)]
    wrong = next((shape[-1] for shape in shapes if shape[-1] not in (1, 3)), None)
    if known.colours and wrong is not None:
        raise InputError(f"augmentation '{name}' needs images of 1 or 3 channels, not {wrong}")
    if known.moves or known.mixes:
        _check_sizes(name, model, over)
    if known.mixes:
        _check_mixing(name, model, task, over)
    return LayerStep(known, value, span(), names, over, shapes[0])


def _image_inputs(model: keras.Model) -> list[keras.KerasTensor]:
    return [tensor for tensor in model.inputs if len(tensor.shape) == IMAGE_RANK]


def _images(name: str, model: keras.Model) -> tuple[str, ...]:
    """Names of the inputs that are images."""
    found = tuple(str(t.name) for t in _image_inputs(model))
    if not found:
        raise InputError(f"augmentation '{name}' needs images, the model takes none")
    return found


def _changeable(model: keras.Model) -> tuple[str, ...]:
    """Names of the inputs that noise is added to: images where there are any, else all floats."""
    images = tuple(str(t.name) for t in _image_inputs(model))
    floats = (str(t.name) for t in model.inputs if str(t.dtype).startswith(("float", "bfloat")))
    return images or tuple(floats) or (str(model.inputs[0].name),)


def _sequence(name: str, model: keras.Model) -> tuple[str, ...]:
    """The name of a model's one input, which is a sequence."""
    shape = tuple(model.inputs[0].shape[1:])
    several = len(model.outputs[0].shape) > 2
    floats = str(model.inputs[0].dtype).startswith(("float", "bfloat"))
    if len(model.inputs) > 1:
        raise InputError(
            f"augmentation '{name}' is for models of one input, this has {len(model.inputs)}",
            "leave it out, or use a function of your own",
        )
    if not floats or several or len(shape) not in (2, 3) or shape[2:] not in ((), (1,)):
        raise InputError(
            f"augmentation '{name}' needs sequences (steps, features) with one answer each, the"
            f" model takes {shape} and gives {tuple(model.outputs[0].shape[1:])}"
        )
    return (str(model.inputs[0].name),)


def _check_sizes(name: str, model: keras.Model, over: Overlay) -> None:
    """Refuse images of one sample of several sizes, which would move by other amounts.

    Raises:
        InputError: An image or a target image has another size, or targets are rows of pixels.
    """
    images = [(t.name, tuple(t.shape[1:3])) for t in _image_inputs(model)]
    first = images[0][1]
    outputs = list(zip(over.kinds, (tuple(t.shape[1:]) for t in model.outputs), strict=True))
    sizes = [(f"input '{n}'", size) for n, size in images[1:]]
    sizes += [("output", shape[:2]) for n, shape in outputs if n in over.planes]
    other = next(
        (pair for pair in sizes if None not in (*first, *pair[1]) and pair[1] != first), None
    )
    if other is not None:
        raise InputError(
            f"augmentation '{name}' moves images, and the model's {other[0]} has another size:"
            f" {first[0]}x{first[1]} and {other[1][0]}x{other[1][1]}",
            "leave it out, or use a function of your own",
        )
    area = None if over.boxes or None in first else math.prod(map(int, first))
    rows = next((n for n, s in outputs if area and len(s) == _ROWS_RANK and s[0] == area), None)
    if rows is not None:
        raise InputError(
            f"augmentation '{name}' moves images, and output '{rows}' answers for each pixel in"
            f" rows of {first[0]} x {first[1]}, which can't be moved along",
            "reshape it to (height, width, classes), or use a function of your own",
        )


def _check_mixing(name: str, model: keras.Model, task: Task, over: Overlay) -> None:
    """Refuse inputs or targets that can't be mixed."""
    if len(task.outputs) > 1:
        raise InputError(f"augmentation '{name}' is for models with one output")
    apart = next((t.name for t in model.inputs if len(t.shape) != IMAGE_RANK), None)
    if apart is not None:
        raise InputError(
            f"augmentation '{name}' mixes images of samples, and input '{apart}' is no image",
            "leave it out, or use a function of your own",
        )
    if name == "mixup" and "masks" in over.kinds.values():
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
