"""Reading what people call a model: a file, a folder, or a function that returns one."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import check_regular, reason
from edgepress.compress.models.compiled_losses import remember_losses
from edgepress.compress.models.file_kinds import archive_kind, file_kind
from edgepress.compress.models.guarding.archives import DAMAGED, open_archive, unpacked
from edgepress.compress.models.guarding.hdf5 import check_keras_file
from edgepress.compress.models.guarding.layers import weights_within
from edgepress.compress.models.guarding.many_layers import many_layers
from edgepress.compress.models.other_kinds import (
    NotKeras,
    check_there,
    is_there,
    other_kind,
)
from edgepress.compress.models.unknown_names import check_lambdas, missing_in, saved_settings
from edgepress.compress.models.user_code import call_reference, custom_objects_of, is_reference

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import ModelLike

# What reading a file raises, and what that says of the file; the first that fits counts.
_REASONS: dict[type[Exception], tuple[str, str]] = {
    PermissionError: ("can't be read", "its permissions don't let you; change them or copy it"),
    BlockingIOError: ("is being written by another program", "try again when it is done"),
    FileNotFoundError: ("is missing a file that belongs to it", "copy or download all of it again"),
    RecursionError: (
        "is nested too deeply to be read",
        "build the model in a function and give file.py:function",
    ),
    NotImplementedError: (
        "uses features that Keras 3 doesn't have",
        "build the model in a function and give file.py:function",
    ),
    MemoryError: ("doesn't fit in memory", "use a machine with more, or check the file's sizes"),
    # Keras raises these on files whose bytes are wrong, not their layers.
    OSError: ("is damaged or truncated", "copy or download it again"),
    RuntimeError: ("is damaged", "copy or download it again"),
    json.JSONDecodeError: ("is damaged", "copy or download it again"),
    Exception: ("can't be loaded", "layers of your own are named with --custom-objects file.py"),
}
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Loaded:
    """A model and what was changed to load it.

    Attributes:
        model: The Keras model.
        notes: What was translated, for files of an older Keras; else empty.
        optimizer: For HDF5 files of an older Keras: the saved optimizer with its state, built for
            `model`, to train on with `model.compile(optimizer, …)`; None where none was carried.
    """

    model: Any
    notes: tuple[str, ...] = ()
    optimizer: Any = None


def load(
    source: ModelLike,
    custom_objects: Path | str | Mapping[str, Any] | None = None,
    unsafe_lambda: bool = False,
) -> keras.Model:
    """Load a Keras model.

    Files that Keras 3 itself refuses (Keras 1 and 2, tf.keras, SavedModel) are converted.
    Python code inside a file is never run, unless `unsafe_lambda` allows it for a `.keras` file.

    Args:
        source: `.keras`, `.h5` or `.hdf5` file, SavedModel folder, `module:function` or
            `file.py:function` that returns a model, or a model (given back as it is).
        custom_objects: Python file with the user's layers, or a mapping of names to them.
        unsafe_lambda: Whether Lambda layers of a `.keras` file may run their Python code.

    Returns:
        A built `keras.Model`, not compiled.

    Raises:
        InputError: There is no such file, it is no model, or it can't be loaded.
    """
    return load_noted(source, custom_objects, unsafe_lambda).model


def load_noted(
    source: ModelLike,
    custom_objects: Path | str | Mapping[str, Any] | None = None,
    unsafe_lambda: bool = False,
) -> Loaded:
    """Load a Keras model as `load` does, and tell what was translated.

    Args:
        source: As for `load`.
        custom_objects: As for `load`.
        unsafe_lambda: As for `load`.

    Returns:
        The model, the notes and, where the file holds one that can be carried, the optimizer.

    Raises:
        InputError: As for `load`.
    """
    import keras

    from edgepress.compress.models.compat_layers.channels_first import support_channels_first

    support_channels_first()
    if isinstance(source, keras.Model):
        return Loaded(_built(source, source.name))
    text = str(source)
    path = Path(text)
    try:
        if not is_there(path) and is_reference(text):
            return Loaded(_built(_returned_model(text), text))
        check_file(path)
    except OSError as error:
        raise _refusal(path, error) from None
    objects = _objects(custom_objects)
    with many_layers():
        found = _load_file(path, objects, unsafe_lambda)
        model = _built(found.model, text)
    remember_losses(model, path, objects)
    return Loaded(model, found.notes, found.optimizer)


def _objects(custom_objects: Path | str | Mapping[str, Any] | None) -> dict[str, Any]:
    if custom_objects is None:
        return {}
    if isinstance(custom_objects, Mapping):
        return dict(custom_objects)
    return custom_objects_of(Path(custom_objects))


def _returned_model(text: str) -> keras.Model:
    import keras

    model = call_reference(text)
    if not isinstance(model, keras.Model):
        raise InputError(f"'{text}' returns {type(model).__name__}, not a keras.Model")
    for tensor in getattr(model, "inputs", None) or ():
        # Keras names an input of no name as its layer in every copy and file of the model.
        tensor.name = tensor._keras_history.operation.name
    return model


def check_file(path: Path) -> None:
    """Tell apart, without opening it as a model, what can't be one.

    Raises:
        InputError: It can't; says what it is.
        OSError: It can't be read.
    """
    check_there(path)
    if (what := other_kind(path)) is not None:
        raise NotKeras(path, what)
    if path.is_dir():
        return
    check_regular(path)
    if path.stat().st_size == 0:
        raise InputError(f"'{path}' is empty")
    with path.open("rb") as file:
        head = file.read(8)
    if path.suffix == ".keras" and head != _HDF5_SIGNATURE:
        _check_archive(path)
    elif head != _HDF5_SIGNATURE:
        zipped = zipfile.is_zipfile(path)
        what, hint = archive_kind(path) if zipped else file_kind(path)
        what = what or "neither a .keras archive nor an HDF5 file"
        raise InputError(f"'{path}' is not a Keras model: it is {what}", hint)


def _check_archive(path: Path) -> None:
    try:
        with open_archive(path) as archive:
            broken = archive.testzip()
            names = archive.namelist()
    except InputError:
        raise
    except RuntimeError as error:  # packed in a way that Python can't undo
        raise InputError(
            f"'{path}' is an archive that can't be opened: {error}", "pack it again as a plain zip"
        ) from None
    except PermissionError:
        raise
    except DAMAGED:
        what, hint = file_kind(path)
        raise InputError(
            f"'{path}' is an incomplete .keras archive{what and f': it is {what}'}",
            hint or "it is truncated or another kind of file",
        ) from None
    if broken or "config.json" not in names:
        what = f"'{broken}' in it is damaged" if broken else "it holds no config.json"
        raise InputError(f"'{path}' is not a Keras model: {what}")


def _load_file(path: Path, objects: dict[str, Any], unsafe_lambda: bool) -> Loaded:
    import keras

    # Importing them registers the layers that a carried and saved model may hold.
    from edgepress.compress.models.compat_layers import (  # noqa: F401
        activations,
        convolutions,
        custom,
        locally_connected,
        older_networks,
        published_layers,
    )
    from edgepress.compress.models.legacy import is_older

    within: AbstractContextManager[None] = nullcontext()
    if not path.is_dir():
        within = weights_within(_checked(path), path, path.stat().st_size)
    if is_older(path):
        with within:
            return _carry(path, objects)
    try:
        with within, unpacked(path) as readable:
            model = keras.models.load_model(
                readable, custom_objects=objects, compile=False, safe_mode=not unsafe_lambda
            )
    except InputError:
        raise
    except Exception as error:
        settings = saved_settings(path)
        if (missing := missing_in(settings, str(path), objects)) is not None:
            raise missing from None
        if path.suffix == ".keras" and "Lambda" in str(error) and "deseriali" in str(error):
            raise InputError(
                f"'{path}' holds a Lambda layer, whose Python code would run on loading",
                "if you trust the file, pass --unsafe-lambda",
            ) from None
        check_lambdas(settings, str(path))
        raise _refusal(path, error) from error
    return Loaded(model)


def _checked(path: Path) -> int:
    """Bytes of the numbers that a file declares, which refers to nothing outside of it."""
    try:
        return check_keras_file(path)
    except InputError:
        raise
    except Exception as error:  # what HDF5 raises on damaged files has many kinds
        raise _refusal(path, error) from None


def _carry(path: Path, objects: dict[str, Any]) -> Loaded:
    """Carry a file of an older Keras over."""
    from edgepress.compress.models.legacy import carry

    try:
        carried = carry(path, objects)
    except InputError:
        raise
    except Exception as error:
        raise _refusal(path, error) from error
    return Loaded(carried.model, carried.notes, carried.optimizer)


def _refusal(path: Path, error: Exception) -> InputError:
    what, hint = next(said for kind, said in _REASONS.items() if isinstance(error, kind))
    return InputError(f"'{path}' {what}: {reason(error)}", hint)


def _built(model: keras.Model, source: str) -> keras.Model:
    if model.built and not getattr(model, "inputs", None):
        from edgepress.compress.models.rebuilding.flatten import flatten

        return flatten(model)
    if not model.built:
        raise InputError(
            f"'{source}' is a model without defined inputs",
            "call it once on example data, or build it with the functional API",
        )
    return model
