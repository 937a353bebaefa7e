"""Passes over one split that are known to be alike."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from edgepress.compress.data.dataset import Split
from edgepress.compress.data.readers.arrays import ArraySource
from edgepress.compress.data.readers.fixing import FIX_THE_ORDER, digest
from edgepress.compress.errors import InputError

Arrays = dict[str, NDArray[Any]]


class Passes:
    """All samples of a split, as often as they are asked for: the same ones in the same order.

    Each pass gives inputs and targets together, in batches. Samples that don't lie in memory are
    hashed, and a pass that differs from an earlier one is refused. Threads may pass at once.

    Args:
        split: The samples.
        size: Samples in a batch.
    """

    def __init__(self, split: Split, size: int) -> None:
        self._split, self._size = split, size
        self._kept = isinstance(split.source, ArraySource)
        self._lock = threading.Lock()
        self._seen: list[bytes] = []
        self._count: int | None = None

    def __iter__(self) -> Iterator[tuple[Arrays, Any]]:
        """Batches of (inputs by name, targets), both NumPy arrays.

        Raises:
            InputError: This pass gives other samples than an earlier one.
        """
        names = list(self._split.preparation.dtypes)
        number = 0
        for inputs, targets in self._split.in_order(self._size).as_numpy_iterator():
            if not self._kept:
                self._hold(number, digest((inputs, targets)))
            number += 1
            yield (inputs if isinstance(inputs, dict) else {names[0]: inputs}), targets
        with self._lock:
            if self._count is None:
                self._count = number
            if number != max(self._count, len(self._seen) or number):
                raise self._refusal()

    def _hold(self, number: int, found: bytes) -> None:
        """Compare one batch with the same one of earlier passes."""
        with self._lock:
            if number == len(self._seen) and self._count is None:
                self._seen.append(found)
            if number >= len(self._seen) or self._seen[number] != found:
                raise self._refusal()

    def _refusal(self) -> InputError:
        return InputError(
            f"the {self._split.name} split yields different samples, or another order, on"
            " each pass, so figures measured on it can't be compared",
            FIX_THE_ORDER,
        )
