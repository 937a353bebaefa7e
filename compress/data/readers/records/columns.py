"""Columns of records, whatever held them, as inputs and targets of a model."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.preparation.strings import takes_text
from edgepress.compress.data.readers.arrays import ArraySource, array_source
from edgepress.compress.data.readers.images.folders import size_read, takes_images
from edgepress.compress.data.readers.images.limits import decoding, open_image
from edgepress.compress.data.readers.images.pixels import depth_of
from edgepress.compress.data.readers.images.reading import ImageReading
from edgepress.compress.data.readers.labels import ordered
from edgepress.compress.data.readers.records.encoded import EncodedSource
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.registry import near_names
from edgepress.compress.models.class_lists.own import classes_of
from edgepress.compress.specs.recipe import DataSpec

if TYPE_CHECKING:
    import keras

Array = NDArray[Any]
_TARGETS = ("label", "labels", "target", "class", "y")
_INPUTS = ("image", "img", "image/encoded", "image_raw", "x", "input", "inputs", "features",
           "text", "sentence", "audio")  # fmt: skip
_ENCODED = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")


@dataclass(frozen=True)
class Columns:
    """Records of one split, column by column.

    Attributes:
        values: (records, …) array of each column; texts and bytes as objects.
        class_names: Names of the classes of columns that hold class numbers.
        where: What they come from, for messages.
    """

    values: Mapping[str, Array]
    class_names: Mapping[str, tuple[str, ...]]
    where: str


def record_sources(
    splits: Mapping[str, Columns], model: keras.Model, spec: DataSpec
) -> tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]:
    """Sources of records.

    Args:
        splits: The records of each split.
        model: The Keras model.
        spec: Names the target and the classes, where they are named.

    Returns:
        Sources by split; the classes' names; notes.

    Raises:
        InputError: A column isn't there, or doesn't fit the model.
    """
    first = next(iter(splits.values()))
    target = _target(first, spec)
    inputs = {t.name: _input(first, t, model, target) for t in model.inputs}
    read = {target, *(name for names in inputs.values() for name in names)}
    left = sorted(set(first.values) - read)
    notes = [f"columns not read: {', '.join(left)}"] if left else []
    named = spec.classes or first.class_names.get(target, ())
    labels = {
        split: _named_as(_labels(part, target, named), part, target, spec.classes)
        for split, part in splits.items()
    }
    texts = sorted({str(v) for y in labels.values() if y.dtype == object for v in y})
    names = named or ordered(texts, (), classes_of(model))
    sources = {}
    for split, part in splits.items():
        targets = labels[split]
        if targets.dtype == object:
            targets = np.array([_number(str(v), names, part, target) for v in targets], np.int64)
        given = {name: _joined(part, columns) for name, columns in inputs.items()}
        sources[split] = _source(part, given, targets, model, spec)
    return sources, tuple(names), tuple(notes)


def _target(columns: Columns, spec: DataSpec) -> str:
    if spec.target is not None:
        if spec.target not in columns.values:
            raise InputError(
                f"{columns.where} have no column '{spec.target}'",
                near_names(spec.target, columns.values),
            )
        return spec.target
    found = [name for name in _TARGETS if name in columns.values]
    if not found:
        raise InputError(
            f"{columns.where} have the columns {', '.join(columns.values)}",
            "name that of the target with --target COLUMN",
        )
    return found[0]


def _input(
    columns: Columns, tensor: keras.KerasTensor, model: keras.Model, target: str
) -> list[str]:
    """The columns of an input: of its name or a usual one, or all others, if they are numbers."""
    others = [name for name in columns.values if name != target]
    if tensor.name in others:
        return [tensor.name]
    if len(model.inputs) > 1:
        raise InputError(
            f"{columns.where} have no column for the model's input '{tensor.name}'",
            f"name it so; there are {', '.join(others)}",
        )
    usual = [name for name in _INPUTS if name in others]
    if usual:
        return usual[:1]
    if len(others) == 1:
        return others
    plain = [name for name in others if columns.values[name].dtype.kind in "biuf"]
    if plain == others and all(columns.values[n].ndim == 1 for n in others) and others:
        return others
    raise InputError(
        f"{columns.where}: which of the columns {', '.join(others)} is the model's input"
        f" '{tensor.name}'?",
        "rename that column so",
    )


def _joined(columns: Columns, names: Sequence[str]) -> Array:
    if len(names) == 1:
        return columns.values[names[0]]
    return np.stack([columns.values[name] for name in names], 1).astype(np.float32)


def _labels(columns: Columns, target: str, named: tuple[str, ...]) -> Array:
    if target not in columns.values:
        raise InputError(f"{columns.where} have no column '{target}'")
    found = columns.values[target]
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.dtype == object:
        odd = next((n for n, v in enumerate(found.flat) if v is None), None)
        if odd is None:
            texts = (isinstance(v, bytes | str) for v in found.flat)
            odd = next((n for n, text in enumerate(texts) if not text), None)
        if odd is not None:
            raise InputError(
                f"{columns.where}: column '{target}' has no single label in record {odd}",
                "drop those records",
            )
        return np.array([v.decode("utf-8", "replace") if isinstance(v, bytes) else v
                         for v in found], object)  # fmt: skip
    if named and found.dtype.kind in "iu" and len(found) and found.min() < 0:
        raise InputError(
            f"{columns.where}: column '{target}' holds {int(found.min())}, which stands for no"
            " label",
            "leave that split out, or name another --target",
        )
    return found


def _named_as(labels: Array, columns: Columns, target: str, asked: Sequence[str]) -> Array:
    """Class numbers as the names that the data has for them, where somebody else orders the names.

    Raises:
        InputError: A number has no name.
    """
    stored = columns.class_names.get(target, ())
    if not (asked and stored) or labels.dtype.kind not in "iu" or labels.ndim > 1:
        return labels
    if len(labels) and labels.max() >= len(stored):
        raise InputError(
            f"{columns.where}: column '{target}' holds {int(labels.max())}, the data names only"
            f" {len(stored)} classes",
            "leave --classes out, or name another --target",
        )
    return np.array(stored, object)[labels]


def _number(text: str, names: tuple[str, ...], columns: Columns, target: str) -> int:
    if text not in names:
        raise InputError(
            f"{columns.where}: column '{target}' holds '{text}', which isn't among the classes"
            f" {', '.join(names)}",
            "name it in --classes too",
        )
    return names.index(text)


def _source(
    columns: Columns, given: Mapping[str, Array], targets: Array, model: keras.Model, spec: DataSpec
) -> ArraySource | EncodedSource:
    (name, values), *more = given.items()
    tensor = model.inputs[0]
    for column in given.values():
        _check_whole(column, columns.where)
    if more or values.dtype != object or takes_text(tensor):
        made = {n: _in_shape(v, t) for (n, v), t in zip(given.items(), model.inputs, strict=True)}
        return array_source(made, targets, model, columns.where, spec.resize is not None)
    items = [v if isinstance(v, bytes) else str(v).encode() for v in values]
    if not all(item.startswith(_ENCODED) for item in items):
        return array_source(
            _raw_pixels(items, tensor, columns.where), targets, model, columns.where
        )
    if not takes_images(model):
        raise InputError(
            f"{columns.where} hold encoded images, the model takes {tuple(tensor.shape[1:])}"
        )
    size_px = size_read(tensor.shape, spec.resize, columns.where)
    reading = ImageReading(size_px, tensor.shape[-1])
    for place, item in enumerate(items):
        _check_image(item, f"{columns.where}, record {place}")
    return EncodedSource(name, tuple(items), targets, reading, columns.where)


def _check_whole(column: Array, where: str) -> None:
    if column.dtype != object:
        return
    odd = next((n for n, v in enumerate(column.flat) if not isinstance(v, bytes | str)), None)
    if odd is not None:
        value = column.flat[odd]
        what = "is empty" if value is None else f"holds a {type(value).__name__} of another length"
        raise InputError(
            f"{where}: record {odd} {what} where the model's input is read",
            "drop it, or give all records the same shape",
        )


def _in_shape(values: Array, tensor: keras.KerasTensor) -> Array:
    """Numbers that were stored in one row, in the shape of the model's input."""
    shape = tuple(tensor.shape[1:])
    flat = values.ndim == 2 and values.dtype != object and len(shape) > 1 and None not in shape
    if flat and values.shape[1] == int(np.prod(shape)):
        return values.reshape(-1, *shape)
    return values


def _check_image(item: bytes, what: str) -> None:
    with decoding(what), open_image(io.BytesIO(item)) as image:
        depth = depth_of(image)
        image.load()
    if depth != "8-bit":
        raise InputError(
            f"{what} is a {depth} image, and records are read as 8-bit ones",
            "give such images as files in a folder",
        )


def _raw_pixels(items: Sequence[bytes], tensor: keras.KerasTensor, where: str) -> Array:
    """Bytes that are the pixels themselves."""
    shape = tuple(tensor.shape[1:])
    wanted = int(np.prod([n or 0 for n in shape]))
    for place, item in enumerate(items):
        if not wanted or len(item) != wanted:
            raise InputError(
                f"{where}, record {place}: {len(item)} bytes that are no JPEG, PNG, GIF, BMP or"
                f" TIFF image, nor the {wanted} pixels of {shape}",
                "store encoded images, or bytes of the model's size",
            )
    return np.stack([np.frombuffer(item, np.uint8).reshape(shape) for item in items])
