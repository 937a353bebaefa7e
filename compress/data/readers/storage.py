"""Room for arrays that are kept: in memory, else in a file that nobody else sees."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from numpy.typing import NDArray

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

Array = NDArray[Any]

_GIB = 2**30
# A training copies what it draws from, and the samples themselves stay in memory.
_SHARE_OF_FREE_MEMORY = 0.2
_SHARE_OF_FREE_DISK = 0.5


@dataclass(frozen=True)
class Limits:
    """How much kept arrays may take.

    Attributes:
        memory: GiB of memory, and at most a fifth of what is free.
        disk: GiB in the folder for temporary files, and at most half of what is free there.
    """

    memory: float = 4.0
    disk: float = 16.0

    def place(self, size: float) -> Callable[[tuple[int, ...], Any], Array] | None:
        """What makes arrays of a size.

        Args:
            size: Bytes in all.

        Returns:
            A function of (shape, element type), in memory where there is room, else on disk; None
            where there is room in neither.
        """
        if size <= self.bytes_in_memory():
            return np.empty
        free = shutil.disk_usage(tempfile.gettempdir()).free
        if size <= min(self.disk * _GIB, _SHARE_OF_FREE_DISK * free):
            return _on_disk
        return None

    def bytes_in_memory(self) -> float:
        """How many bytes may be kept in memory now."""
        free = psutil.virtual_memory().available
        return min(self.memory * _GIB, _SHARE_OF_FREE_MEMORY * free)


def _on_disk(shape: tuple[int, ...], kind: DTypeLike) -> Array:
    """An array in a file without a name: its room is free again when the process ends, however."""
    with tempfile.TemporaryFile(prefix="edgepress-arrays-") as file:
        return np.memmap(file, dtype=kind, mode="w+", shape=shape)
