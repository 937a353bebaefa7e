"""The tables of TFLite Metadata, as far as names, normalisation and labels go.

Tables are written and read by the numbers of their fields: the schema's generated code comes in a
package that has no release for current versions of Python.

Source: metadata_schema.fbs (version 1.0.0) of tensorflow/tflite-support.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import flatbuffers

LABELS = "labels.txt"
_IDENTIFIER = b"M001"
_OLDEST_PARSER = "1.0.0"
# Values of the schema's enumerations.
_AXIS_LABELS = 2  # AssociatedFileType.TENSOR_AXIS_LABELS
_FEATURE, _IMAGE = 1, 2  # ContentProperties
_NORMALIZATION = 1  # ProcessUnitOptions
_RGB = 1  # ColorSpaceType


@dataclass(frozen=True)
class Described:
    """One input or output as its file describes it.

    Attributes:
        name: Its name.
        mean: Subtracted from raw values, one number or one for each channel; empty for none.
        std: Divisor after that.
        labels: Names along its last axis.
    """

    name: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Description:
    """What a file says of itself.

    Attributes:
        name: The model's name.
        about: One line on it.
        inputs: In the order of the file's inputs.
        outputs: In the order of the file's outputs.
    """

    name: str
    about: str
    inputs: tuple[Described, ...]
    outputs: tuple[Described, ...]

    def lines(self) -> list[str]:
        """What it says, one line each."""
        found = [f"{self.name}: {self.about}" if self.about else self.name]
        for tensor in self.inputs:
            if tensor.mean or tensor.std:
                mean, std = (", ".join(f"{v:g}" for v in vs) for vs in (tensor.mean, tensor.std))
                found.append(f"input '{tensor.name}' takes (x - {mean}) / {std}")
        for tensor in self.outputs:
            if tensor.labels:
                found.append(f"output '{tensor.name}' is of {', '.join(tensor.labels)}")
        return found


def pack(description: Description, images: Sequence[bool]) -> bytes:
    """A description as a flatbuffer.

    Args:
        description: The description.
        images: Which inputs are RGB images.
    """
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    inputs = [
        _tensor(builder, tensor, image)
        for tensor, image in zip(description.inputs, images, strict=True)
    ]
    outputs = [_tensor(builder, tensor, False) for tensor in description.outputs]
    graph = _table(builder, {2: _vector(builder, inputs), 3: _vector(builder, outputs)})
    graphs = _vector(builder, [graph])
    texts = (description.name, description.about, _OLDEST_PARSER)
    name, about, version = (builder.CreateString(text) for text in texts)
    builder.Finish(_table(builder, {0: name, 1: about, 3: graphs, 7: version}), _IDENTIFIER)
    return bytes(builder.Output())


def _tensor(builder: flatbuffers.Builder, tensor: Described, image: bool) -> int:
    fields = {0: builder.CreateString(tensor.name)}
    properties = _table(builder, {}, {0: _RGB} if image else {})
    fields[3] = _table(builder, {1: properties}, {0: _IMAGE if image else _FEATURE})
    if tensor.mean:
        numbers = [
            builder.CreateNumpyVector(np.asarray(values, np.float32))
            for values in (tensor.mean, tensor.std)
        ]
        options = _table(builder, dict(enumerate(numbers)))
        fields[4] = _vector(builder, [_table(builder, {1: options}, {0: _NORMALIZATION})])
    if tensor.labels:
        name = builder.CreateString(LABELS)
        fields[6] = _vector(builder, [_table(builder, {0: name}, {2: _AXIS_LABELS})])
    return _table(builder, fields)


def _table(
    builder: flatbuffers.Builder,
    places: Mapping[int, int],
    numbers: Mapping[int, int] | None = None,
) -> int:
    """Write a table whose parts lie at some places already; give its own place.

    Args:
        builder: Holds what is written.
        places: Where each part lies, by the number of its field.
        numbers: Small numbers by the number of their field.
    """
    numbers = numbers or {}
    builder.StartObject(max((*places, *numbers), default=-1) + 1)
    for field, place in places.items():
        builder.PrependUOffsetTRelativeSlot(field, place, 0)
    for field, number in numbers.items():
        builder.PrependInt8Slot(field, number, 0)
    return int(builder.EndObject())


def _vector(builder: flatbuffers.Builder, places: Sequence[int]) -> int:
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):
        builder.PrependUOffsetTRelative(place)
    return int(builder.EndVector())


def unpack(content: bytes, files: Mapping[str, str]) -> Description:
    """A description from a flatbuffer.

    Args:
        content: The flatbuffer.
        files: Text files beside it, by name.

    Raises:
        Exception: The bytes are no such flatbuffer.
    """
    root = _Table(content, int.from_bytes(content[:4], "little"))
    inputs, outputs = (
        tuple(
            _described(tensor, files) for graph in root.tables(3)[:1] for tensor in graph.tables(f)
        )
        for f in (2, 3)
    )
    return Description(root.text(0), root.text(1), inputs, outputs)


def _described(tensor: _Table, files: Mapping[str, str]) -> Described:
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    for unit in tensor.tables(4):
        if unit.number(0) == _NORMALIZATION:
            [options] = unit.table(1)
            mean, std = options.floats(0), options.floats(1)
    labels = [
        files.get(file.text(0), "").splitlines()
        for file in tensor.tables(6)
        if file.number(2) == _AXIS_LABELS
    ]
    return Described(tensor.text(0), mean, std, tuple(labels[0]) if labels else ())


class _Table:
    """A table in a flatbuffer, read by the numbers of its fields; absent ones are empty."""

    def __init__(self, content: bytes, place: int) -> None:
        from flatbuffers.table import Table

        self._content = content
        self._table = Table(content, place)

    def _offset(self, field: int) -> int:
        return int(self._table.Offset(4 + 2 * field))

    def text(self, field: int) -> str:
        """A string."""
        offset = self._offset(field)
        return str(self._table.String(offset + self._table.Pos).decode()) if offset else ""

    def number(self, field: int) -> int:
        """A small number."""
        from flatbuffers.number_types import Int8Flags

        offset = self._offset(field)
        return int(self._table.Get(Int8Flags, offset + self._table.Pos)) if offset else 0

    def floats(self, field: int) -> tuple[float, ...]:
        """A vector of floats."""
        offset = self._offset(field)
        if not offset:
            return ()
        begin, count = self._table.Vector(offset), self._table.VectorLen(offset)
        return tuple(float(v) for v in np.frombuffer(self._content, "<f4", count, begin))

    def table(self, field: int) -> list[_Table]:
        """The one table in a field, or none."""
        offset = self._offset(field)
        if not offset:
            return []
        return [_Table(self._content, self._table.Indirect(offset + self._table.Pos))]

    def tables(self, field: int) -> list[_Table]:
        """A vector of tables."""
        offset = self._offset(field)
        if not offset:
            return []
        begin, count = self._table.Vector(offset), self._table.VectorLen(offset)
        places = (self._table.Indirect(begin + 4 * i) for i in range(count))
        return [_Table(self._content, place) for place in places]
