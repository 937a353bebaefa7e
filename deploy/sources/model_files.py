"""Opening a model file that holds no Keras model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import check_regular, reading
from edgepress.compress.models.class_lists.own import remember_classes
from edgepress.compress.models.other_kinds import is_there
from edgepress.deploy.exporters.preflight import preflight
from edgepress.deploy.exporters.tracing import graph_names
from edgepress.deploy.sources.formats.onnx import OnnxFile
from edgepress.deploy.sources.formats.onnx_reading import read_onnx
from edgepress.deploy.sources.formats.savedmodel import SavedModelFolder
from edgepress.deploy.sources.formats.tflite import TFLiteFile
from edgepress.deploy.sources.formats.tflite_reading import TFLiteReader
from edgepress.deploy.sources.model_file import ForeignFile
from edgepress.deploy.sources.signature import plain_names, stand_in
from edgepress.deploy.sources.source import Source

_BY_SUFFIX: dict[str, Callable[[Path], ForeignFile]] = {".tflite": TFLiteFile, ".onnx": OnnxFile}


def open_file(path: Path | str) -> ForeignFile:
    """Open a `.tflite` or `.onnx` file or a SavedModel folder as data.

    Raises:
        InputError: It isn't there, is of no such kind, or is damaged.
    """
    path = Path(path)
    if path.is_dir():
        return SavedModelFolder(path)
    if not is_there(path):
        raise InputError(f"'{path}' does not exist")
    check_regular(path)
    if path.suffix.lower() not in _BY_SUFFIX:
        raise InputError(
            f"'{path}' can't be run", "give a .tflite or .onnx file or a SavedModel folder"
        )
    with reading(f"'{path}'"):
        return _BY_SUFFIX[path.suffix.lower()](path)


def check_whole(path: Path) -> None:
    """Refuse a file that is damaged, before a runtime is given it.

    Raises:
        InputError: It isn't there, is of no kind that can be run, or is damaged.
    """
    readers: dict[str, Callable[[Path], Any]] = {".tflite": TFLiteReader, ".onnx": read_onnx}
    suffix = path.suffix.lower()
    if path.is_file() and suffix in readers:
        with reading(f"'{path}'"):
            readers[suffix](path)
        return
    open_file(path)


def check_runs(source: Source) -> None:
    """Refuse a finished file that its runtime can't load, before other files are made of it.

    Raises:
        FileRefused: The runtime refuses it, or crashes with it.
    """
    if source.is_finished:
        with source.file.runtime():
            pass


def open_foreign(path: Path | str) -> Source:
    """Open such a file as what other files are made from and compared with.

    Args:
        path: A `.tflite` or `.onnx` file or a SavedModel folder.

    Returns:
        The source; its model has the file's signature and computes nothing.

    Raises:
        InputError: It isn't there, is of no such kind, or is damaged.
    """
    file = open_file(path)
    model = stand_in(file.signature)
    remember_classes(model, file.path, file.class_list())
    names = plain_names(file.signature.inputs)
    return Source(
        model=model,
        run=partial(_run, file),
        identify=file.identify,
        exporters=file.exporters(),
        obstacles=preflight if file.converts else _none,
        input_names=_names_for_converters(file, names),
        precision=file.precision,
        batch=file.signature.batch,
        file=file,
        trace=file.trace,
    )


def _names_for_converters(file: ForeignFile, names: list[str]) -> list[str]:
    return graph_names(names) if file.converts else [spec.name for spec in file.signature.inputs]


def _none(*_: Any) -> tuple[()]:
    """A finished file isn't converted, so nothing in it can stand in the way."""
    return ()


def _run(file: ForeignFile, chunks: Iterator[Mapping[str, NDArray[Any]]]) -> list[NDArray[Any]]:
    """Outputs of a file for chunks of samples by the stand-in's input names."""
    with file.runtime() as runtime:
        parts = [outputs_of(file, runtime, chunk) for chunk in chunks]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def outputs_of(
    file: ForeignFile, runtime: Runtime, given: Mapping[str, NDArray[Any]]
) -> list[NDArray[Any]]:
    """Outputs of a file that runs already, for samples by the stand-in's input names."""
    names, specs = plain_names(file.signature.inputs), file.signature.inputs
    got = runtime.predict({s.name: given[n] for n, s in zip(names, specs, strict=True)})
    return [got[spec.name] for spec in file.signature.outputs]
