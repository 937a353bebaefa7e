"""Writing a Keras model as one whole file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.files import atomic_output, check_output
from edgepress.compress.processes.scratch import scratch_folder


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


def save(model: Any, path: Path | str, force: bool = False) -> Path:
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
    with atomic_output(path, force) as temporary:
        model.save(temporary)
    return path


def saved_bytes(model: Any) -> int:
    """Size of the model as a `.keras` file without optimizer state.

    A `.keras` file is an uncompressed zip of the weights and two small JSON texts, so zeros in the
    weights don't shrink it.
    """

    with scratch_folder() as folder:
        path = folder / "model.keras"
        optimizer = getattr(model, "optimizer", None)
        if optimizer is None:
            model.save(path)
        else:
            model.optimizer = None
            try:
                model.save(path)
            finally:
                model.optimizer = optimizer
        return path.stat().st_size
