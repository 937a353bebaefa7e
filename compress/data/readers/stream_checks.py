"""What makes a `tf.data` pipeline unfit to train on: no end, no shape, classes in a row."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested

Array = NDArray[Any]

# The way on where a stream has no end.
ENDS = "use .take(N), or --steps-per-epoch N for a training stream in batches"
# A pipeline of unknown length that goes on for so long is taken for one without an end.
_MOST_SECONDS = 20.0
# So many samples, or what comes in so short a time, show the order of classes.
_SAMPLES_LOOKED_AT, _SECONDS_LOOKED_AT = 2_000, 3.0
_FEWEST_SAMPLES = 32
# Of the changes from class to class that a random order has, a sorted one has fewer than this.
_SORTED = 0.1


def check_elements(spec: tuple[Any, ...], where: str) -> None:
    """Refuse elements that can't be put into one batch.

    Args:
        spec: The dataset's element specification.
        where: What it comes from, for messages.

    Raises:
        InputError: They are ragged or sparse, or their shape isn't known at all.
    """
    import tensorflow as tf

    for part in tf.nest.flatten(spec):
        if isinstance(part, tf.RaggedTensorSpec):
            raise InputError(
                f"{where}: elements are ragged tensors, {part.shape}",
                "pad them to one shape, as with .map(lambda x, y: (x.to_tensor(shape=…), y))",
            )
        if isinstance(part, tf.SparseTensorSpec):
            raise InputError(
                f"{where}: elements are sparse tensors, {part.shape}",
                "make them dense, as with .map(lambda x, y: (tf.sparse.to_dense(x), y))",
            )
        if not hasattr(part, "shape"):  # None, as weights may be
            continue
        if part.shape.rank is None:
            raise InputError(
                f"{where}: elements have no known shape",
                "give from_generator an output_signature with shapes, or use tf.ensure_shape",
            )


def count_within(stream: tf.data.Dataset, where: str, most_seconds: float = _MOST_SECONDS) -> int:
    """The number of elements of a dataset of unknown length, counted in one pass.

    Args:
        stream: The `tf.data.Dataset`.
        where: What it comes from, for messages.
        most_seconds: How long the pass may take.

    Raises:
        InputError: It goes on for longer.
    """
    import tensorflow as tf

    end = time.time() + most_seconds
    timely = stream.take_while(lambda *_: tf.timestamp() < end)
    size = int(timely.reduce(np.int64(0), lambda n, _: n + 1))
    if time.time() < end:
        return size
    raise InputError(
        f"{where}: the dataset has not ended after {size:,} samples in {most_seconds:g} seconds",
        f"if it never ends, {ENDS}; else say how many samples there are, with"
        " .apply(tf.data.experimental.assert_cardinality(N))",
    )


def first_targets(samples: tf.data.Dataset) -> dict[str, Array]:
    """Targets of the first samples of a stream that are one number or a row of them, by output.

    Args:
        samples: `tf.data.Dataset` of (inputs, targets), one sample an element.

    Returns:
        (samples, …) array of each output; that of a stream without names is called "".
    """
    import tensorflow as tf

    spec = samples.element_spec[1]
    plain = {
        name: part.shape.rank is not None and part.shape.rank < 2 and part.shape.is_fully_defined()
        for name, part in _by_output(spec).items()
    }
    if not any(plain.values()):
        return {}
    end = time.time() + _SECONDS_LOOKED_AT
    found = (
        samples.map(
            lambda _, targets, *__: {n: t for n, t in _by_output(targets).items() if plain[n]}
        )
        .take(_SAMPLES_LOOKED_AT)
        .take_while(lambda _: tf.timestamp() < end)
    )
    rows = list(found.as_numpy_iterator())
    return {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}


def _by_output(targets: Nested) -> Mapping[str, Any]:
    return targets if isinstance(targets, Mapping) else {"": targets}


def sorted_by_class(labels: Array) -> bool:
    """Whether samples come one class after another.

    Args:
        labels: (samples,) classes in the order of the stream.
    """
    if len(labels) < _FEWEST_SAMPLES:
        return False
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    expected = (1 - np.square(shares).sum()) * (len(labels) - 1)
    changes = int((labels[1:] != labels[:-1]).sum())
    return bool(changes < max(_SORTED * expected, 1))
