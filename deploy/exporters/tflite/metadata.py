"""What a TFLite file says of itself: names of classes and how inputs are prepared.

The description is that of TFLite Metadata: a flatbuffer of its own in the model's table `metadata`,
under the name TFLITE_METADATA, and the labels as a text file in a zip archive behind the model,
which runtimes don't read. Weights keep their bytes.

Source: metadata_schema.fbs (version 1.0.0) of tensorflow/tflite-support; "Adding metadata to
TensorFlow Lite models" in TensorFlow's documentation.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgepress.benchmarks.tflite.graph import add_metadata, packed
from edgepress.benchmarks.tflite.metadata_tables import LABELS, Described, Description, pack, unpack
from edgepress.compress.data.preparation.inputs import Preparation
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import reason
from edgepress.compress.models.class_lists.parsing import of_lines

if TYPE_CHECKING:
    from ai_edge_litert import schema_py_generated as schema

ENTRY = "TFLITE_METADATA"


def describe(
    path: Path,
    name: str,
    about: str,
    preparation: Preparation | None = None,
    class_names: Sequence[str] = (),
) -> bool:
    """Write into a TFLite file how its inputs are prepared and what its classes are called.

    Args:
        path: The file; replaced.
        name: The model's name.
        about: One line on it.
        preparation: What is done to raw inputs.
        class_names: Names of the classes, in the order of the one output's last axis.

    Returns:
        Whether it was written: not where the file is described already, or where there is neither
        a preparation nor a name to tell.
    """
    from ai_edge_litert import schema_py_generated as schema

    data = path.read_bytes()
    mean, std = normalization(preparation)
    if not (mean or class_names) or _entry(schema.Model.GetRootAs(data, 0)) is not None:
        return False
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    inputs, outputs = (_signature(model, side) for side in ("inputs", "outputs"))
    labelled = len(outputs) == 1 and outputs[0][1][-1:] == (len(class_names),)
    labels = tuple(" ".join(str(c).split()) for c in class_names) if labelled else ()
    if not (mean or labels):
        return False
    bgr = preparation is not None and preparation.linear is not None and preparation.linear.reversed
    description = Description(
        name,
        f"{about}; takes BGR images" if bgr else about,
        tuple(Described(n, mean, std) if real else Described(n) for n, _, real in inputs),
        tuple(Described(n, labels=labels) for n, _, _ in outputs),
    )
    # The description has a word for RGB and none for BGR.
    images = [real and len(shape) == 4 and shape[-1] == 3 and not bgr for _, shape, real in inputs]
    add_metadata(model, ENTRY, np.frombuffer(pack(description, images), np.uint8))
    _write(path, model, labels)
    return True


def normalization(preparation: Preparation | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and divisor by which raw inputs become the model's; empty where they are taken raw.

    >>> normalization(Preparation({}, scale=0.5, mean=(1.0,), std=(4.0,)))
    ((2.0,), (8.0,))
    """
    numbers = None if preparation is None else preparation.linear
    return ((), ()) if numbers is None else (numbers.mean, numbers.std)


def read_description(path: Path | str) -> Description | None:
    """What a TFLite file says of itself, or None.

    Raises:
        InputError: Its description is damaged.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        data = Path(path).read_bytes()
        model = schema.Model.GetRootAs(data, 0)
        number = _entry(model)
        if number is None:
            return None
        return unpack(bytes(model.Buffers(number).DataAsNumpy()), _files(data))
    except Exception as error:  # the bytes are anyone's
        raise InputError(f"the metadata of '{path}' is damaged: {reason(error)}") from error


def _entry(model: schema.Model) -> int | None:
    """The number of the buffer with the description."""
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == ENTRY.encode():
            return int(entry.Buffer())
    return None


def _signature(model: schema.ModelT, side: str) -> list[tuple[str, tuple[int, ...], bool]]:
    """Name, shape and whether the values are real numbers, of each tensor on one side."""
    graph = model.subgraphs[0]
    named: dict[int, str] = {}
    for definition in model.signatureDefs or ():
        named |= {t.tensorIndex: t.name.decode() for t in getattr(definition, side)}
    found = []
    for index in getattr(graph, side):
        tensor = graph.tensors[index]
        scales = None if tensor.quantization is None else tensor.quantization.scale
        real = tensor.type in _REAL or (scales is not None and len(scales) > 0)
        shape = () if tensor.shape is None else tuple(int(s) for s in tensor.shape)
        found.append((named.get(index) or tensor.name.decode(errors="replace"), shape, real))
    return found


# Of a text file behind a model.
_MOST_BYTES = 1_000_000
_REAL = (0, 1)  # TensorType.FLOAT32, FLOAT16


def _write(path: Path, model: schema.ModelT, labels: Sequence[str]) -> None:
    content = io.BytesIO(packed(model, path.stat().st_size, share=True))
    if labels:
        with zipfile.ZipFile(content, "a") as archive:
            # A fixed date: the same model gives the same file.
            archive.writestr(zipfile.ZipInfo(LABELS), "".join(f"{label}\n" for label in labels))
    temporary = path.with_name(f"{path.name}.described")
    temporary.write_bytes(content.getvalue())
    temporary.replace(path)


def read_labels(path: Path | str) -> tuple[str, ...]:
    """Names of the classes that a TFLite file carries along; none where it has none.

    Those of its description, else those of a text file behind the model that is called after labels
    or classes, which older tools put there without one.

    Raises:
        InputError: Its description is damaged.
    """
    description = read_description(path)
    for tensor in description.outputs if description is not None else ():
        if len(tensor.labels) > 1:
            return tensor.labels
    named = [
        text for name, text in _files(Path(path).read_bytes()).items()
        if name.endswith(".txt") and any(word in name.lower() for word in ("label", "class"))
    ]  # fmt: skip
    return of_lines(named[0]) if len(named) == 1 else ()


def _files(data: bytes) -> dict[str, str]:
    """The text files in the archive behind a model, as far as they are no larger than lists are."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {
                member.filename: archive.read(member).decode("utf-8-sig", "replace")
                for member in archive.infolist()
                if member.file_size <= _MOST_BYTES
            }
    except zipfile.BadZipFile:
        return {}
