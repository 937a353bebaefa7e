"""Channel identities: arrays of integers shaped like tensors, and the classes that they fall into.

Two ideas carry the whole tracing (see README.md beside this file):

- An `Ids` stands for one tensor. Its array holds, for every element, the number of the channel
  that the element belongs to. An axis along which the number doesn't change is kept at length 1.
- `Classes` is a union-find over those numbers: what can only be removed together is one class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

Shape = tuple[int | None, ...]
IntVector = Int[np.ndarray, "n"]


@dataclass(frozen=True, eq=False)
class Ids:
    """The channel numbers of one tensor.

    Attributes:
        array: Of the tensor's rank; each axis has the tensor's length, or 1 where all elements
            along it have the same number. The batch axis has length 1.
        shape: The tensor's shape, batch first; None for a length that the graph leaves open.
    """

    array: Int[np.ndarray, ...]
    shape: Shape

    @property
    def varying(self) -> tuple[int, ...]:
        """Axes along which numbers differ."""
        return tuple(axis for axis, n in enumerate(self.array.shape) if n > 1)

    @property
    def rank(self) -> int:
        """Number of axes, the batch included."""
        return len(self.shape)

    def axis(self, axis: int) -> int:
        """An axis counted from the front."""
        return axis % self.rank

    def spread(self, axes: Sequence[int] | None = None) -> Int[np.ndarray, ...]:
        """The array with some axes (all by default) at the tensor's own length.

        Axes of open length, and the batch, stay at 1.
        """
        chosen = range(1, self.rank) if axes is None else axes
        lengths = list(self.array.shape)
        for axis in chosen:
            lengths[axis] = self.shape[axis] or 1
        if tuple(lengths) == self.array.shape:
            return self.array
        return np.broadcast_to(self.array, lengths)


def compact(array: Int[np.ndarray, ...], shape: Shape) -> Ids:
    """Ids with every axis along which the numbers are equal brought to length 1."""
    for axis, n in enumerate(array.shape):
        if n > 1:
            first = array.take([0], axis)
            if (array == first).all():
                array = first
    return Ids(array, shape)


def placed(vector: IntVector, axis: int, shape: Shape) -> Ids:
    """Ids that run along one axis of a tensor.

    Args:
        vector: Numbers along the axis.
        axis: Which axis.
        shape: The tensor's shape.
    """
    lengths = [1] * len(shape)
    lengths[axis % len(shape)] = len(vector)
    return Ids(np.reshape(vector, lengths), shape)


class Classes:
    """A union-find over channel numbers, whole arrays at a time.

    The representative of a class is its smallest number, so results don't depend on the order in
    which numbers were united.
    """

    def __init__(self) -> None:
        self._parent = np.arange(1024, dtype=np.int64)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def fresh(self, count: int) -> IntVector:
        """New numbers, each a class of its own."""
        start, self._used = self._used, self._used + count
        if self._used > len(self._parent):
            more = np.arange(len(self._parent), 2 * self._used, dtype=np.int64)
            self._parent = np.concatenate([self._parent, more])
        return np.arange(start, self._used, dtype=np.int64)

    def roots(self, numbers: Int[np.ndarray, ...]) -> Int[np.ndarray, ...]:
        """The representative of each number."""
        found = self._parent[numbers]
        while True:
            above = self._parent[found]
            if np.array_equal(above, found):
                return found
            found = above

    def unite(self, one: Int[np.ndarray, ...], other: Int[np.ndarray, ...]) -> None:
        """Put the numbers at matching positions (after broadcasting) into one class."""
        a, b = self.roots(one), self.roots(other)
        if a.shape != b.shape:
            a, b = np.broadcast_arrays(a, b)
        a, b = a.ravel(), b.ravel()
        while True:
            differ = a != b
            if not differ.any():
                return
            a, b = a[differ], b[differ]
            # Several links may meet in one parent: the smallest wins, the rest comes round again.
            np.minimum.at(self._parent, np.maximum(a, b), np.minimum(a, b))
            a, b = self.roots(a), self.roots(b)

    def unite_across(self, array: Int[np.ndarray, ...], axis: int) -> IntVector:
        """Unite everything that lies in the same slice of an axis.

        Args:
            array: Numbers.
            axis: Slices of this axis stay apart.

        Returns:
            The representative of each slice.
        """
        if array.size == array.shape[axis]:
            return self.roots(array.ravel())
        slices = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
        if slices.shape[1] > 1:
            self.unite(slices[:, 1:], slices[:, :1])
        return self.roots(slices[:, 0])
