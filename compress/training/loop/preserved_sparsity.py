"""Zeros and shared values that earlier steps made stay while a model trains.

A kernel with zeros was pruned, one of few values was clustered: training all weights freely would
undo it without a word. The weights are put back in place inside each step, so that a running
average of them keeps them too, and nothing has to be stored for a resumed training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.specs.recipe import TrainSpec

if TYPE_CHECKING:
    import keras

# A kernel of fewer weights, or with a smaller share of zeros, isn't taken for a pruned one.
_LEAST_WEIGHTS, _LEAST_ZEROS = 16, 0.1
# A kernel of at most so many values, each used so often on average, counts as clustered.
_MOST_VALUES, _LEAST_USES = 256, 2
_KERNELS = ("kernel", "embeddings")


@dataclass(frozen=True, eq=False)
class Held:
    """What stays of one kernel.

    Attributes:
        weight: The Keras variable.
        stays: True where a weight isn't zero; None where zeros may change.
        index: The number of the value that each weight shares; None where they are free.
    """

    weight: Any
    stays: NDArray[np.bool_] | None = None
    index: NDArray[np.int64] | None = None


def held_weights(weights: Iterable[keras.Variable], spec: TrainSpec) -> dict[int, Held]:
    """The kernels that are clearly pruned or clustered, and what stays of them.

    A kernel counts as pruned with 10 % of zeros among 16 weights or more. One of nothing but zeros
    does only beside others that are pruned: alone it is a start, and has yet to be learned.

    Args:
        weights: Keras variables; those that are no kernels are passed over.
        spec: Says what is let go.

    Returns:
        By the weight's identity.
    """
    found: dict[int, Held] = {}
    for weight in weights:
        if weight.name.endswith(_KERNELS) and "float" in str(weight.dtype):
            value = np.asarray(weight.numpy())
            shared = not spec.release_clusters and shared_count(value) > 0
            pruned = not spec.release_zeros and (_is_pruned(value) or shared)
            if shared or pruned:
                index = None
                if shared:
                    index = np.unique(value, return_inverse=True)[1].reshape(value.shape)
                found[id(weight)] = Held(weight, value != 0 if pruned else None, index)
    empty = [i for i, h in found.items() if h.stays is not None and not h.stays.any()]
    if len(empty) == sum(h.stays is not None for h in found.values()):
        found = {i: h for i, h in found.items() if i not in empty}
    return found


def _is_pruned(value: NDArray[Any]) -> bool:
    zeros = value.size - int(np.count_nonzero(value))
    return value.size >= _LEAST_WEIGHTS and zeros >= _LEAST_ZEROS * value.size


def shared_count(value: NDArray[Any]) -> int:
    """How many values a kernel has that an earlier step has clustered, zero counted.

    Args:
        value: The kernel.

    Returns:
        0 where it has many, or each but zero only once.
    """
    values = np.unique(value)
    few = 2 < len(values) <= min(_MOST_VALUES, value.size // _LEAST_USES)
    repeated = np.count_nonzero(values) < np.count_nonzero(value)
    return len(values) if few and repeated else 0


class Holder:
    """Puts weights back in place after each change; called while a step is traced.

    Args:
        held: What stays.
    """

    def __init__(self, held: Iterable[Held]) -> None:
        import tensorflow as tf

        self._parts = [
            (
                one.weight.value,
                None if one.stays is None else tf.constant(one.stays),
                None if one.index is None else tf.constant(one.index),
                0 if one.index is None else int(one.index.max()) + 1,
            )
            for one in held
        ]

    def apply(self) -> None:
        """Give all weights of a cluster their mean, and set removed ones to zero."""
        import tensorflow as tf

        for weight, stays, index, count in self._parts:
            changed = tf.convert_to_tensor(weight)
            if index is not None:
                flat = tf.reshape(index, [-1])
                means = tf.math.unsorted_segment_mean(tf.reshape(changed, [-1]), flat, count)
                changed = tf.gather(means, index)
            if stays is not None:
                changed = tf.where(stays, changed, tf.zeros_like(changed))
            weight.assign(changed)


def holding_notes(held: Mapping[int, Held], what: str = "the training") -> tuple[str, ...]:
    """What is to be said of kernels in which something stays.

    Args:
        held: What stays.
        what: What kept it.
    """
    zeros = [h for h in held.values() if h.stays is not None and not h.stays.all()]
    shared = [h for h in held.values() if h.index is not None]
    lines = []
    if zeros:
        counted = sum(int(h.stays.size - h.stays.sum()) for h in zeros if h.stays is not None)
        lines.append(
            f"{what} kept the {counted:,} zeros of {_kernels(zeros)}; release_zeros lets them go"
        )
    if shared:
        lines.append(
            f"{what} kept the shared values of {_kernels(shared)}; release_clusters lets them go"
        )
    return tuple(lines)


def _kernels(held: list[Held]) -> str:
    names = [h.weight.path for h in held]
    if len(names) == 1:
        return names[0]
    return f"{len(names)} kernels ({names[0]} to {names[-1]})"
