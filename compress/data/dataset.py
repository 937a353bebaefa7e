"""Splits that give the same batches for the same seed and epoch, however often they are asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.augmentation.augmenting import Augmentation
from edgepress.compress.data.preparation.inputs import Preparation
from edgepress.compress.data.tasks import Task
from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested

Array = NDArray[Any]
Arrays = dict[str, Array]
T = TypeVar("T")


class Source(Protocol):
    """Where the samples of one split come from.

    Batches are pairs of (inputs by name, targets) as stored, before any preparation.
    """

    @property
    def size(self) -> int:
        """Number of samples."""

    def batches(self, order: Array | None, batch_size: int) -> tf.data.Dataset:
        """A `tf.data.Dataset` of batches.

        Args:
            order: (n,) indices of the samples to give, or None for all in stored order. A stream
                that can't be indexed uses it only to know that a shuffled pass is wanted.
            batch_size: Samples in a batch; the last may be smaller.
        """

    def labels(self) -> Array | None:
        """(samples,) class of each sample, where the targets are classes."""


@dataclass(frozen=True)
class Split:
    """One split of a data set: "train", "val" or "test".

    Attributes:
        name: Which one.
        source: Where its samples come from.
        preparation: What is done to each input before the model sees it.
        augmentation: What training changes at random.
    """

    name: str
    source: Source
    preparation: Preparation
    augmentation: Augmentation

    @property
    def size(self) -> int:
        """Number of samples."""
        return self.source.size

    @property
    def weighted(self) -> bool:
        """Whether samples count differently in the loss."""
        return bool(getattr(self.source, "weighted", False))

    def _batches(self, order: Array | None, batch_size: int) -> tf.data.Dataset:
        """Batches as stored, of (inputs, targets[, weights])."""
        if self.weighted:
            return self.source.weighted_batches(order, batch_size)  # type: ignore[attr-defined]
        return self.source.batches(order, batch_size)

    def _epoch_batches(self, epoch: int, order: Array, batch_size: int) -> tf.data.Dataset:
        """As `_batches`, those of a stream without an end by the epoch's number."""
        if hasattr(self.source, "epoch_batches"):
            return self.source.epoch_batches(epoch, batch_size)
        return self._batches(order, batch_size)

    def steps(self, batch_size: int) -> int:
        """Batches in one pass."""
        return -(-self.size // batch_size)

    def order(self, seed: int, epoch: int) -> Array:
        """(samples,) the order of an epoch, drawn from `seed` and the epoch's number alone."""
        return np.random.default_rng((seed, epoch)).permutation(self.size)

    def epoch(
        self,
        batch_size: int,
        seed: int,
        epoch: int,
        augment: bool = True,
        skip_batches: int = 0,
    ) -> tf.data.Dataset:
        """The batches of one training epoch.

        Order and augmentation are drawn from `seed` and `epoch` alone, so an epoch can be repeated,
        or entered in the middle, without having run the ones before it.

        Args:
            batch_size: Samples in a batch.
            seed: Seed of the run.
            epoch: Number of the epoch, from 0.
            augment: Whether the split's augmentation applies.
            skip_batches: Batches already done.

        Returns:
            A `tf.data.Dataset` of (inputs, targets), and of weights where samples have them.
        """
        import tensorflow as tf

        order = self.order(seed, epoch)
        batches = self._epoch_batches(epoch, order, batch_size)
        batches = batches.skip(skip_batches) if skip_batches else batches
        if not (augment and self.augmentation.changes):
            return self._prepared(batches).prefetch(4)

        def prepare(number: tf.Tensor, batch: tuple[Any, ...]) -> tuple[Nested, ...]:
            inputs, targets = self.preparation(*batch[:2])
            here = tf.stack([seed * 100_003 + epoch, tf.cast(number, tf.int32)])
            return _unwrap(*self.augmentation(inputs, targets, here, *batch[2:]))

        numbered = batches.enumerate(skip_batches)
        return numbered.map(prepare, num_parallel_calls=2).prefetch(4)

    def _prepared(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Batches as a model takes them."""

        def prepare(*batch: Any) -> tuple[Nested, ...]:
            return _unwrap(*self.preparation(*batch[:2]), *batch[2:])

        return batches.map(prepare, num_parallel_calls=2)

    def in_order(self, batch_size: int = 256, weighted: bool = False) -> tf.data.Dataset:
        """All samples in stored order as a `tf.data.Dataset` of (inputs, targets).

        Args:
            batch_size: Samples in a batch.
            weighted: Whether weights stand behind the targets, where samples have them.
        """
        batches = (self._batches if weighted else self.source.batches)(None, batch_size)
        return self._prepared(batches).prefetch(2)

    def sample(self, n: int, seed: int = 0) -> tuple[Arrays, Any]:
        """Some samples, classes in equal parts where they are known.

        Args:
            n: How many; all where the split has fewer.
            seed: Draws which ones.

        Returns:
            Inputs by name, each (n, …), and targets, (n, …) or by output name.
        """
        chosen = balanced_choice(self.source.labels(), self.size, n, seed)
        batches = self.source.batches(chosen, max(1, min(n, 256))).map(self.preparation)
        parts = []
        for inputs, targets in batches.as_numpy_iterator():
            parts.append((inputs, targets))
            if sum(len(next(iter(p[0].values()))) for p in parts) >= n:
                break
        inputs = {k: np.concatenate([p[0][k] for p in parts])[:n] for k in parts[0][0]}
        return inputs, _join([p[1] for p in parts], n)


class BesideSplits(Generic[T]):
    """What is kept beside each split, for as long as there is the split.

    Args:
        make: Makes what is kept of a split that is new.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._kept: dict[int, T] = {}

    def of(self, split: Split) -> T:
        """What is kept beside a split."""
        if id(split) not in self._kept:
            self._kept[id(split)] = self._make()
            finalize(split, self._kept.pop, id(split))
        return self._kept[id(split)]


def _join(parts: list[Any], n: int) -> Any:
    if isinstance(parts[0], dict):
        return {k: np.concatenate([p[k] for p in parts])[:n] for k in parts[0]}
    if isinstance(parts[0], tuple | list):
        return [np.concatenate([p[i] for p in parts])[:n] for i in range(len(parts[0]))]
    return np.concatenate(parts)[:n]


def _unwrap(inputs: dict[str, tf.Tensor], *rest: Nested) -> tuple[Nested, ...]:
    """One input is given to the model as a tensor, several by name."""
    return (next(iter(inputs.values())) if len(inputs) == 1 else inputs), *rest


def balanced_choice(labels: Array | None, size: int, n: int, seed: int) -> Array:
    """Indices of `n` of `size` samples, as many of each class as the classes allow.

    Returns:
        (min(n, size),) distinct indices in random order.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(size)
    if n >= size or labels is None:
        return order[:n]
    shuffled = labels[order]
    rank = np.zeros(size, np.int64)
    for label in np.unique(shuffled):
        places = np.flatnonzero(shuffled == label)
        rank[places] = np.arange(len(places))
    return order[np.argsort(rank, kind="stable")[:n]]


@dataclass(frozen=True)
class Dataset:
    """A data set opened for one model.

    Attributes:
        train: Split that training draws from, or None.
        val: Split that choices are made by, or None.
        test: Split that figures are reported on, or None.
        task: What the model is asked to do.
        fingerprint: Hash of the data's content.
        input_range: Lowest and highest value of a first batch, after preparation.
        class_names: Names of the classes, where the data has them.
        warnings: Remarks for the user, one line each.
        unlabelled: Whether targets are a teacher's answers, which training does without.
        chosen_on_test: Whether the test split has samples of the validation split, so that
            choices have seen what figures are reported on.
    """

    train: Split | None
    val: Split | None
    test: Split | None
    task: Task
    fingerprint: str
    input_range: tuple[float, float]
    class_names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    unlabelled: bool = False
    chosen_on_test: bool = False

    @property
    def training_split(self) -> Split:
        """The training split.

        Raises:
            InputError: The data has none.
        """
        if self.train is None:
            raise InputError("the data has no training split", "name arrays x_train, y_train")
        return self.train

    @property
    def report_split(self) -> Split:
        """The split that figures are reported on: test, else validation.

        Raises:
            InputError: The data has neither.
        """
        split = self.test or self.val
        if split is None:
            raise InputError(
                "the data has neither a test nor a validation split to measure on",
                "add x_test, y_test (or a 'val' or 'test' entry)",
            )
        return split

    def with_splits(self, change: Callable[[Split], Split]) -> Dataset:
        """The same data, each of its splits changed."""
        train, val, test = (
            None if split is None else change(split) for split in (self.train, self.val, self.test)
        )
        return replace(self, train=train, val=val, test=test)

    def calibration(self, n: int = 256, seed: int = 0) -> Arrays:
        """A representative data set: inputs by name, (n, …), classes in equal parts.

        Drawn from the training split, so that what is reported stays unseen.
        """
        split = self.train or self.val or self.report_split
        return split.sample(n, seed)[0]

    def judging(self, n: int = 256, seed: int = 0) -> Arrays:
        """Inputs as `calibration` gives them, to judge what was calibrated: others where there are.

        Drawn from the validation split, else again from the training split.
        """
        split = self.val or self.train or self.report_split
        return split.sample(n, seed + 1)[0]

    def summary(self) -> dict[str, Any]:
        """What was understood, as JSON-able values."""
        sizes = {s.name: s.size for s in (self.train, self.val, self.test) if s is not None}
        return {
            "task": self.task.kind,
            "loss": self.task.loss,
            "metric": self.task.metric,
            "samples": sizes,
            "input_range": list(self.input_range),
            "classes": list(self.class_names),
            "hash": self.fingerprint,
        }
