"""`inspect` for everything that can be looked at: Keras models and files of other kinds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgepress.compress.errors import InputError
from edgepress.deploy.sources.contents.account import FileInspection
from edgepress.deploy.sources.contents.lacking_operators import lacking
from edgepress.deploy.sources.model_files import open_file
from edgepress.deploy.sources.opening import finished_file, open_source

if TYPE_CHECKING:
    from edgepress.compress.inspection import Inspection
    from edgepress.compress.keras_types import ModelLike
    from edgepress.deploy.sources.source import Source


def inspect(model: Source | ModelLike, runtime: str | None = None) -> Inspection | FileInspection:
    """Look at a model without changing it.

    Args:
        model: A Keras model, or what `open_source` takes: a `.tflite` or `.onnx` file or a
            SavedModel folder too.
        runtime: A runtime whose missing operators are named ("tflm", "litert", "onnxruntime"); for
            files only.

    Returns:
        Costs and layers or operators. Channel groups are known of Keras models only.

    Raises:
        InputError: It can't be opened.
    """
    if (path := finished_file(model)) is not None:
        found = open_file(path).inspect()  # needs no Keras, whose import takes seconds
        return found if runtime is None else _asked_of(found, path, runtime)
    if runtime is not None:
        raise InputError(
            "runtime is for .tflite and .onnx files: a runtime has kernels for a file's operators",
            "export the model first",
        )
    from edgepress.compress.inspection import inspect as inspect_keras

    source = open_source(model)
    if source.is_keras:
        return inspect_keras(source.model)
    folder: FileInspection = source.file.inspect()
    return folder


def _asked_of(found: FileInspection, path: Path, runtime: str) -> FileInspection:
    absent = lacking(path, (layer.type for layer in found.layers), runtime, found.hybrid)
    note = f"{runtime} has no kernel for {', '.join(absent)}"
    if not absent:
        note = f"{runtime} has kernels for all its operators"
    return replace(found, lacking=absent, notes=(*found.notes, note))
