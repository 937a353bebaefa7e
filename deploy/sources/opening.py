"""Opening whatever people call a model as a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.deploy.sources.source import Source, keras_source

if TYPE_CHECKING:
    from edgepress.compress.keras_types import ModelLike


def open_source(
    model: Source | ModelLike,
    custom_objects: Path | str | Mapping[str, Any] | None = None,
    unsafe_lambda: bool = False,
) -> Source:
    """Open what people call a model: what `compress.load` takes, and TFLite, ONNX and SavedModel.

    Args:
        model: As for `compress.load`; or a `.tflite` or `.onnx` file, or a SavedModel folder whose
            signature is taken where it holds no Keras model that can be converted.
        custom_objects: As for `compress.load`.
        unsafe_lambda: As for `compress.load`.

    Returns:
        The source; the same one where it is one already.

    Raises:
        InputError: There is no such model, or it can't be opened.
    """
    from edgepress.compress.models import load_noted
    from edgepress.compress.models.other_kinds import NotKeras, is_there, other_kind
    from edgepress.deploy.sources.model_files import open_foreign

    if isinstance(model, Source):
        return model
    path = Path(model) if isinstance(model, str | Path) else None
    if path is not None and other_kind(path) is not None:
        return open_foreign(path)
    try:
        loaded = load_noted(model, custom_objects, unsafe_lambda)
        return replace(keras_source(loaded.model), notes=loaded.notes)
    except NotKeras:
        if path is None:
            raise
        return open_foreign(path)
    except InputError as error:
        if custom_objects is not None or path is None or not is_there(path) or not path.is_dir():
            raise
        return _by_its_signature(path, error)


def finished_file(model: Source | ModelLike) -> Path | None:
    """The path of a `.tflite` or `.onnx` file; None for everything else."""
    from edgepress.compress.models.other_kinds import other_kind

    path = Path(model) if isinstance(model, str | Path) else None
    return path if path is not None and other_kind(path) is not None else None


def _by_its_signature(path: Path, why: InputError) -> Source:
    """A SavedModel whose Keras model can't be converted.

    Raises:
        InputError: It has no signature that can be run either: `why` is what matters.
    """
    from edgepress.deploy.sources.model_files import open_foreign

    try:
        source = open_foreign(path)
    except InputError:
        raise why from None
    note = f"the SavedModel's signature is taken, since its Keras model isn't: {why.message}"
    return replace(source, notes=(note, *source.notes))
