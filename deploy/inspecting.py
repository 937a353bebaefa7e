"""`inspect` for everything that can be looked at: Keras models and files of other kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgepress.deploy.foreign.account import FileInspection
from edgepress.deploy.foreign.opening import open_file
from edgepress.deploy.source import finished_file, open_source

if TYPE_CHECKING:
    from edgepress.compress.inspection import Inspection


def inspect(model: Any) -> Inspection | FileInspection:
    """Look at a model without changing it.

    Args:
        model: A Keras model, or what `open_source` takes: a `.tflite` or `.onnx` file or a
            SavedModel folder too.

    Returns:
        Costs and layers or operators. Channel groups are known of Keras models only.

    Raises:
        InputError: It can't be opened.
    """
    if (path := finished_file(model)) is not None:
        return open_file(path).inspect()  # needs no Keras, whose import takes seconds
    from edgepress.compress.inspection import inspect as inspect_keras

    source = open_source(model)
    if source.is_keras:
        return inspect_keras(source.model)
    found: FileInspection = source.file.inspect()
    return found
