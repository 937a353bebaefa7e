"""The weights that a recovery starts from, kept beside its checkpoints.

A recovery goes on only from the very weights that it began with. What repairs layers computes in
TensorFlow, which rounds otherwise with other kernels: after a crash the work goes on without those
of oneDNN (`kernel/onednn.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgepress.compress.kernel.files import atomic_output, content_key
from edgepress.compress.models.guarding.archives import read_arrays


class RecoveryStart:
    """A model's weights in a folder; without a folder nothing is kept.

    Args:
        folder: Where the recovery's checkpoints lie, made when needed.
        parts: What the weights follow from, JSON-able; weights of anything else are not taken.
    """

    def __init__(self, folder: Path | None, *parts: Any) -> None:
        self._file = None if folder is None else folder / "start.npz"
        self._key = "" if folder is None else content_key(*parts)

    def restore(self, model: Any) -> bool:
        """Give a model the weights that were kept; whether there are any."""
        if self._file is None or not self._file.is_file():
            return False
        arrays = read_arrays(self._file)
        if arrays.pop("key").tobytes().decode() != self._key:
            return False
        for place, variable in enumerate(model.weights):
            variable.assign(arrays[str(place)])
        return True

    def keep(self, model: Any) -> None:
        """Write a model's weights down, in the place of any before."""
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        arrays = {str(n): np.asarray(v.numpy()) for n, v in enumerate(model.weights)}
        key = np.frombuffer(self._key.encode(), np.uint8)
        with atomic_output(self._file, force=True) as temporary:
            np.savez(temporary, allow_pickle=False, key=key, **arrays)
