"""How the axes of a kernel are to be read: what is summed over, what comes out.

Every kernel is seen as *planes*: an array of shape (S, I, O), for each spatial position a matrix of
inputs by outputs. Blocks lie in these matrices, N:M groups along I, and a k x k slice is one column
through all S.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from jaxtyping import Shaped


@dataclass(frozen=True)
class Layout:
    """The part that each axis of a kernel plays.

    Attributes:
        spatial: Axes of positions: height and width of a convolution.
        inputs: Axes that are summed over at each position.
        outputs: Axes of the results.
    """

    spatial: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def order(self) -> tuple[int, ...]:
        """All axes: spatial, then inputs, then outputs."""
        return (*self.spatial, *self.inputs, *self.outputs)

    def shape(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """(S, I, O) of a kernel of this shape."""
        sizes = [prod(shape[a] for a in axes) for axes in (self.spatial, self.inputs, self.outputs)]
        return sizes[0], sizes[1], sizes[2]

    def planes(self, kernel: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "s i o"]:
        """View a kernel as planes."""
        return kernel.transpose(self.order).reshape(self.shape(kernel.shape))

    def kernel(
        self, planes: Shaped[np.ndarray, "s i o"], shape: Sequence[int]
    ) -> Shaped[np.ndarray, "..."]:
        """Put planes back into a kernel of this shape; undoes `planes`."""
        moved = planes.reshape([shape[a] for a in self.order])
        return np.ascontiguousarray(moved.transpose(np.argsort(self.order)))


def dense(rank: int) -> Layout:
    """(inputs, outputs): Dense, recurrent cells."""
    return Layout((), tuple(range(rank - 1)), (rank - 1,))


def convolution(rank: int) -> Layout:
    """(positions…, inputs, outputs): convolutions and pointwise kernels."""
    return Layout(tuple(range(rank - 2)), (rank - 2,), (rank - 1,))


def transposed_convolution(rank: int) -> Layout:
    """(positions…, outputs, inputs)."""
    return Layout(tuple(range(rank - 2)), (rank - 1,), (rank - 2,))


def depthwise(rank: int) -> Layout:
    """(positions…, channels, multiplier): each channel is a filter of its own, nothing is mixed."""
    return Layout(tuple(range(rank - 2)), (), (rank - 2, rank - 1))


def embedding(rank: int) -> Layout:
    """(words, features): a row is read whole, so N:M groups lie along the features."""
    return Layout((), (rank - 1,), tuple(range(rank - 1)))


def einsum(equation: str) -> Layout:
    """The layout of the kernel in an EinsumDense equation such as "abc,cd->abd"."""
    operands, result = equation.replace(" ", "").split("->")
    labels = operands.split(",")[1].replace("...", "")
    outputs = tuple(i for i, label in enumerate(labels) if label in result)
    return Layout((), tuple(i for i in range(len(labels)) if i not in outputs), outputs)
