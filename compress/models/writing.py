"""Writing a Keras model as one whole file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.files import atomic_output, check_output
from edgepress.compress.models.guarding.many_layers import many_layers
from edgepress.compress.processes.scratch import scratch_folder, taken_along

if TYPE_CHECKING:
    import keras

# PKWARE's APPNOTE, sections 4.3.7, 4.3.12 and 4.3.16.
_ZIP_HEADS_BYTES, _ZIP_END_BYTES = 30 + 46, 22
_ZIPPED_UP_TO = 2**26


def check_model_output(path: Path | str, force: bool = False, inputs: Iterable[Any] = ()) -> Path:
    """Refuse, before any work, a path that a model can't be saved to.

    Args:
        path: Where the model is to go.
        force: Whether an existing file may be replaced.
        inputs: What the work reads; none of it is replaced.

    Raises:
        InputError: The ending isn't `.keras` or `.h5`, the file exists, or can't be written.
    """
    path = Path(path)
    if path.suffix not in (".keras", ".h5"):
        raise InputError(f"'{path}' must end in .keras (or .h5) to hold a Keras model")
    return check_output(path, force, inputs=inputs)


def save(model: keras.Model, path: Path | str, force: bool = False) -> Path:
    """Save a model, whole or not at all.

    Args:
        model: A Keras model.
        path: A `.keras` or `.h5` file.
        force: Whether an existing file is replaced.

    Returns:
        The path.

    Raises:
        InputError: The path can't be written, or exists without `force`.
    """
    path = check_model_output(path, force)
    with atomic_output(path, force) as temporary, taken_along(), many_layers():
        model.save(temporary)
    return path


def saved_bytes(model: keras.Model) -> int:
    """Size of the model as a `.keras` file without optimizer state.

    A `.keras` file is an uncompressed zip of the weights and two small JSON texts, so zeros in the
    weights don't shrink it. Large models are saved unzipped, as Keras does itself where memory is
    short: it zips the others in memory, which takes twice their size.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return _saved_bytes(model)
    model.optimizer = None
    try:
        return _saved_bytes(model)
    finally:
        model.optimizer = optimizer


def _saved_bytes(model: keras.Model) -> int:
    with scratch_folder() as folder, taken_along():
        if 4 * model.count_params() <= _ZIPPED_UP_TO:
            model.save(folder / "model.keras")
            return (folder / "model.keras").stat().st_size
        model.save(folder, zipped=False)
        files = [path for path in folder.rglob("*") if path.is_file()]
        return _ZIP_END_BYTES + sum(_zipped_bytes(path, folder) for path in files)


def _zipped_bytes(path: Path, folder: Path) -> int:
    """What a file takes in a zip archive that doesn't compress, with its two heads."""
    return path.stat().st_size + _ZIP_HEADS_BYTES + 2 * len(str(path.relative_to(folder)))
