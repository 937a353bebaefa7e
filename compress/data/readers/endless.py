"""Training streams of which an epoch is some batches, as they come: those without an end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgepress.compress.data.readers.streams import (
    StreamSource,
    is_batched,
    named_stream,
    stream_source,
)
from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


@dataclass
class _Pass:
    """Where a pass over a stream stands.

    Attributes:
        elements: What is still to come.
        position: How many elements were given.
    """

    elements: Iterator[Any] | None = None
    position: int = 0


@dataclass(frozen=True)
class EndlessSource(StreamSource):
    """A stream of which each epoch takes the next batches.

    What looks at samples in order (`batches`) sees those of the first epoch.

    Attributes:
        given: The stream as it was given, in batches; inputs by name.
        steps: How many of its batches an epoch takes.
    """

    given: Any = None
    steps: int = 0
    _pass: _Pass = field(default_factory=_Pass, compare=False, repr=False)

    @property
    def ahead(self) -> tf.data.Dataset:
        """The samples that a training sees, one an element, over the end of an epoch."""
        return self.given.unbatch()

    def epoch_batches(self, epoch: int, batch_size: int) -> tf.data.Dataset:
        """A `tf.data.Dataset` of the batches of an epoch: those behind the epoch before.

        An epoch that doesn't follow on the last one is found by a new pass from the beginning.

        Args:
            epoch: From 0.
            batch_size: Samples in a batch.
        """
        import tensorflow as tf

        def elements() -> Iterator[Any]:
            state, start = self._pass, epoch * self.steps
            if state.elements is None or state.position != start:
                state.elements = iter(self.given.repeat().skip(start))
                state.position = start
            for _ in range(self.steps):
                found = next(state.elements)
                state.position += 1
                yield found

        def shaped(*sample: tf.Tensor) -> tuple[Any, ...]:
            spec = self.samples.element_spec
            return tf.nest.map_structure(lambda v, s: tf.ensure_shape(v, s.shape), sample, spec)

        drawn = tf.data.Dataset.from_generator(elements, output_signature=self.given.element_spec)
        return drawn.unbatch().map(shaped).batch(batch_size)


def endless_source(
    stream: tf.data.Dataset, model: keras.Model, where: str, steps: int
) -> EndlessSource:
    """A source whose epochs are so many batches of a stream.

    Args:
        stream: `tf.data.Dataset` of batches, as for `stream_source`; may have no end.
        model: The Keras model.
        where: What it comes from, for messages.
        steps: Batches in an epoch.

    Raises:
        InputError: As of `stream_source`, or elements are single samples.
    """
    batches = named_stream(stream, model, where)
    if not is_batched(batches, model):
        raise InputError(
            f"{where}: elements are single samples, so that steps_per_epoch counts no batches",
            "put .batch(N) behind it",
        )
    first = stream_source(stream.take(steps), model, where)
    return EndlessSource(first.samples, first.size, first.shuffle, batches, steps)


def check_steps(sources: dict[str, Any], steps: int | None) -> None:
    """Refuse a number of steps for data that isn't such a stream.

    Raises:
        InputError: The training split isn't a stream.
    """
    if steps is not None and not isinstance(sources.get("train"), EndlessSource):
        raise InputError(
            "steps_per_epoch is for a training split that is a tf.data.Dataset",
            "leave it out: an epoch is one pass over all samples",
        )
