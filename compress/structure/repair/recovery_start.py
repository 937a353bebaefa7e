"""The weights that a recovery starts from, kept beside its checkpoints.

A recovery goes on only from the very weights that it began with. What repairs layers computes in
TensorFlow, which rounds otherwise with other kernels: after a crash the work goes on without those
of oneDNN (`kernel/onednn.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.compress.kernel.files import content_key
from edgepress.compress.training.loop.checkpoints import (
    Snapshot,
    assign,
    numbered,
    read_snapshot,
    values,
    write_snapshot,
)

if TYPE_CHECKING:
    import keras


class RecoveryStart:
    """A model's weights in a folder; without a folder nothing is kept.

    Args:
        folder: Where the recovery's checkpoints lie, made when needed.
        parts: What the weights follow from, JSON-able; weights of anything else are not taken.
    """

    def __init__(self, folder: Path | None, *parts: Any) -> None:
        self._file = None if folder is None else folder / "start.npz"
        self._key = "" if folder is None else content_key(*parts)

    def restore(self, model: keras.Model) -> bool:
        """Give a model the weights that were kept; whether there are any."""
        if self._file is None or not self._file.is_file():
            return False
        found = read_snapshot(self._file, self._key)
        if found is not None:
            assign(model.weights, found.in_order("weights"))
        return found is not None

    def keep(self, model: keras.Model) -> None:
        """Write a model's weights down, in the place of any before."""
        if self._file is not None:
            kept = Snapshot(numbered("weights", values(model.weights)))
            write_snapshot(self._file, self._key, kept)
