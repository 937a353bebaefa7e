"""What is suspicious about a data set: uneven classes, and samples that two splits share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.data.preparation.inputs import measured_inputs, own_rescaling
from edgepress.compress.data.readers.arrays import ArraySource, class_labels
from edgepress.compress.data.readers.fingerprints import Digests
from edgepress.compress.data.readers.images.uniform import full_scale
from edgepress.compress.data.readers.stream_checks import first_targets, sorted_by_class
from edgepress.compress.data.readers.streams import StreamSource
from edgepress.compress.data.tasks import Task
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec

if TYPE_CHECKING:
    import keras

    from edgepress.compress.data.dataset import Source

# How a remark on the range of the inputs begins, which a measurement may refute.
SUSPECTED_RANGE = "inputs run from"
# A class this many times larger than another is worth a word.
_UNEVEN = 4


def uneven_classes(source: Source, names: Sequence[str], task: Task) -> Iterator[str]:
    """A remark where a split has one class, or one that is many times the smallest."""
    labels = source.labels()
    if labels is not None and task.outputs[0].void is not None:
        labels = labels[task.outputs[0].counting(labels)]
    if labels is None or not len(labels):
        return
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) == 1 and len(labels) > 1:
        yield "all training samples are of one class: there is nothing to learn or to measure"
        return
    few, many = int(counts.argmin()), int(counts.argmax())
    if counts[many] < _UNEVEN * counts[few]:
        return

    def named(place: int) -> str:
        number = int(classes[place])
        return f"'{names[number]}'" if number < len(names) else f"class {number}"

    advice = (
        "; accuracy says little about the rare ones (--metric balanced-accuracy or f1 says more)"
    )
    yield (
        f"classes are imbalanced: {named(few)} has {counts[few]} training samples, {named(many)}"
        f" {counts[many]}{advice if task.metric in ('accuracy', 'binary_accuracy') else ''}"
    )


def class_by_class(source: Source) -> Iterator[str]:
    """A remark on a stream that gives one class after another and isn't shuffled here."""
    if not isinstance(source, StreamSource) or source.shuffle:
        return
    for name, targets in first_targets(source.ahead).items():
        labels = class_labels(targets)
        if labels is None or not sorted_by_class(labels):
            continue
        of = f" of output '{name}'" if name else ""
        yield (
            f"the training stream comes sorted by class{of}, as its first {len(labels):,} samples"
            " show: a training learns each class and forgets it again; add .shuffle(N) with a large"
            " N"
        )


def check_class_names(names: Sequence[str], model: keras.Model, task: Task) -> None:
    """Refuse names of classes that aren't as many as an output tells apart.

    Raises:
        InputError: Says both numbers.
    """
    if not names or len(task.outputs) > 1:
        return
    output, size = task.outputs[0], model.outputs[0].shape[-1]
    if output.kind == "own" or size is None:
        return
    if not output.of_classes:
        raise InputError("classes are named, but the targets are values", "leave classes out")
    count = 2 if size == 1 else int(size)
    if len(names) != count and not (size == 1 and len(names) == 1):
        raise InputError(
            f"{len(names)} classes are named ({', '.join(names[:4])}{', …' * (len(names) > 4)}),"
            f" output '{output.name}' tells {count} apart",
            "name each class once, in the order of the outputs, with --classes",
        )


def refuse_undefined(task: Task, sources: Mapping[str, Any]) -> None:
    """Refuse a metric of ranks for samples of one class, which have none.

    Raises:
        InputError: Names the split.
    """
    for split in ("val", "test"):
        source = sources.get(split)
        if not isinstance(source, ArraySource):
            continue
        for output, targets in zip(task.outputs, task.target_list(source.targets), strict=True):
            if output.scored and output.metric == "auc" and len(np.unique(targets)) < 2:
                raise InputError(
                    f"metric 'auc' is undefined: all samples of the {split} split are of one class",
                    "give samples of several, or take accuracy",
                )


def shared_samples(digests: Digests) -> Iterator[str]:
    """A remark for each later split that holds samples of an earlier one, byte for byte."""
    for earlier, later, words in (
        ("train", "val", "training split too"),
        ("train", "test", "training split too"),
        ("val", "test", "validation split too, which choices are made by"),
    ):
        if both := shared(digests, earlier, later):
            yield (
                f"{both} samples of the {later} split are in the {words}: its figures will look"
                " better than they are"
            )


def shared(digests: Digests, one: str, other: str) -> int:
    """How many different samples two splits have in common, as far as it is known."""
    return len(set(digests.get(one) or ()) & set(digests.get(other) or ()))


def suspected_range(spec: DataSpec, model: keras.Model, span: tuple[float, float]) -> Iterator[str]:
    """Remarks on a range of inputs that a model was hardly trained on."""
    low, high = span
    measured = measured_inputs(model)
    if not any("float" in str(t.dtype) for t in model.inputs if t.name in measured):
        return  # nothing that would be scaled
    raw = (spec.scale, spec.std, spec.preprocess) == (None, None, None)
    if high > 32 and raw and own_rescaling(model) is None:
        yield (
            f"{SUSPECTED_RANGE} {low:g} to {high:g} and the model does not rescale them; if it was"
            f" trained on 0 to 1, pass --scale 1/{full_scale(high)}"
        )
    if high <= 1 / 100 and low >= -1 / 100:
        yield f"{SUSPECTED_RANGE} {low:g} to {high:g}: were they scaled twice?"


def left_out(task: Task) -> list[str]:
    """What the one metric of tables and choices says nothing of."""
    scored_names = ", ".join(output.name for output in task.headline)
    others = [output for output in task.outputs if output.scored and output.name in task.unscored]
    return [
        f"{task.metric} used for ranking is that of output {scored_names}; that of output"
        f" {output.name} ({output.metric}) stands beside it"
        for output in others
    ]
