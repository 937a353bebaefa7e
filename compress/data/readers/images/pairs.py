"""Images with a target image each: `inputs/` and `targets/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.compress.data.inferring.asked import Asked, by_output
from edgepress.compress.data.inferring.output_range import reach_of
from edgepress.compress.data.inferring.void_labels import whole_label
from edgepress.compress.data.readers.class_folders import files_below
from edgepress.compress.data.readers.images.folders import (
    IMAGES,
    ImageSource,
    image_input,
    size_read,
)
from edgepress.compress.data.readers.images.image_files import check_images
from edgepress.compress.data.readers.images.masks import Output, mask_reading
from edgepress.compress.data.readers.images.reading import ImageReading
from edgepress.compress.data.readers.images.uniform import are_deep, remarks
from edgepress.compress.data.tasks import output_names
from edgepress.compress.errors import InputError
from edgepress.compress.models.compiled_losses import compiled_losses, plain_name
from edgepress.compress.specs.recipe import DataSpec

if TYPE_CHECKING:
    import keras

# Channels that pictures have.
_PICTURES = (1, 3, 4)
# Losses of Keras that compare values, by their plain names.
_OF_VALUES = (
    "mse", "mae", "huber", "log_cosh", "poisson", "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error", "cosine_similarity",
)  # fmt: skip


@dataclass(frozen=True)
class _Pair:
    split: str
    image: str
    target: str


def are_pairs(folders: Mapping[str, Path]) -> bool:
    """Whether the folder of each split holds pairs of images."""
    return all((f / "inputs").is_dir() and (f / "targets").is_dir() for f in folders.values())


def pair_sources(
    folders: Mapping[str, Path], model: keras.Model, spec: DataSpec
) -> tuple[dict[str, ImageSource], list[str]]:
    """Images of `inputs/` with those of the same name in `targets/`, by split.

    Args:
        folders: The folder of each split.
        model: The Keras model; with one input and one output of images.
        spec: How images are prepared.

    Returns:
        The sources, and remarks on how images are read. Masks are read as class numbers.

    Raises:
        InputError: Folders are empty, an input has no target, a file can't be read, or masks
            don't fit the model's output.
    """
    first = next(iter(folders.values()))
    tensor, output = image_input(model, first), _image_output(model, spec.loss, first)
    found = [pair for split, folder in folders.items() for pair in _pairs(split, folder)]
    images, targets = [p.image for p in found], [p.target for p in found]
    size_px = size_read(tensor.shape, spec.resize, first)
    survey = check_images(images)
    reading = ImageReading(size_px, tensor.shape[-1], are_deep(survey, spec))
    notes = remarks(survey, spec, tensor.shape[-1], "inputs")
    answered = _size_answered(model, (*size_px, tensor.shape[-1]))
    ignored = by_output(spec.ignore_label, "ignore_label")
    void = ignored.get(output.name) if isinstance(ignored, Mapping) else ignored
    masks, showing, mask_notes = mask_reading(
        targets, output, answered, None if void is None else whole_label(void)
    )
    answering: Any = masks
    if masks is None:
        looked = check_images(targets)
        answering = ImageReading(answered, output.channels, are_deep(looked, spec))
        mask_notes = remarks(looked, spec, output.channels, "targets")
    sources = {}
    for split in folders:
        places = [n for n, pair in enumerate(found) if pair.split == split]
        sources[split] = ImageSource(
            tensor.name,
            tuple(images[n] for n in places),
            tuple(targets[n] for n in places),
            reading,
            answering,
            tuple(n - places[0] for n in showing if places[0] <= n <= places[-1]),
        )
    return sources, [*notes, *mask_notes, *_spare(folders, len(found))]


def _pairs(split: str, folder: Path) -> list[_Pair]:
    """The pairs of a split, by the names of the images, subfolders included."""
    sides = [
        {
            p.relative_to(folder / side).with_suffix(""): p
            for p in files_below(folder / side, IMAGES)
        }
        for side in ("inputs", "targets")
    ]
    lonely = sorted(str(sides[0][name]) for name in sides[0].keys() - sides[1].keys())
    hint = "pairs share their name in inputs/ and targets/"
    if not sides[0]:
        raise InputError(f"'{folder}': no images", hint)
    if lonely:
        raise InputError(f"'{folder}': input '{lonely[0]}' has no target of that name", hint)
    return [_Pair(split, str(image), str(sides[1][name])) for name, image in sides[0].items()]


def _spare(folders: Mapping[str, Path], pairs: int) -> list[str]:
    """A note on target images without an input."""
    targets = sum(len(files_below(folder / "targets", IMAGES)) for folder in folders.values())
    if targets == pairs:
        return []
    return [
        f"{targets - pairs:,} images in targets/ have no input of their name: they are not read"
    ]


def _image_output(model: keras.Model, losses: Sequence[str], folder: Path) -> Output:
    """What is known of the one output, which must be images."""
    tensor, name = model.outputs[0], output_names(model)[0]
    if len(model.outputs) != 1 or len(tensor.shape) != 4 or tensor.shape[-1] is None:
        shapes = ", ".join(str(tuple(t.shape[1:])) for t in model.outputs)
        raise InputError(
            f"'{folder}' holds target images, the model gives {shapes}",
            "inputs/ and targets/ are for models with one output of (height, width, channels)",
        )
    reach, channels = reach_of(tensor), int(tensor.shape[-1])
    compiled = compiled_losses(model, (name,)) or (None,)
    asked = Asked(by_output(losses, "loss")).loss_of(name)
    said = plain_name(asked or (compiled[0].name if compiled[0] else ""))
    one_of_many = reach.squashing == "softmax" or "categorical" in said
    return Output(
        name,
        channels,
        of_classes=channels not in _PICTURES or one_of_many,
        of_values=channels in _PICTURES and (said in _OF_VALUES or -inf < reach.low < 0),
    )


def _size_answered(model: keras.Model, shape: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of the output for inputs of a shape."""
    height, width = model.outputs[0].shape[1:3]
    if height is None or width is None:
        _, height, width, _ = model.compute_output_shape((1, *shape))
    return int(height), int(width)
