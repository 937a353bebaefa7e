"""What a model makes of the data it is given: range, preprocessing, dead layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data import Dataset, Task
from edgepress.compress.data.checks import SUSPECTED_RANGE
from edgepress.compress.doctor.findings import Finding
from edgepress.compress.doctor.split_checks import scales_of_splits

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested

Array = NDArray[Any]
_SAMPLES = 200
_CHUNK = 50
# A preprocessing is called wrong when another one gives this much more of a score (0 to 1), or
# takes this share off an error.
_BETTER = 0.15
# Samples for each class, the share that another order of classes makes right, and its gain, by
# which the order is called wrong: what only chance reorders gains far less.
_FEWEST, _KNOWN, _BETTER_ORDER = 5, 0.6, 0.3


@dataclass(frozen=True)
class Preprocessing:
    """Another reading of the same inputs.

    Attributes:
        text: What it is, for the message.
        options: The options that apply it.
        apply: From inputs as given to inputs as read otherwise.
    """

    text: str
    options: str
    apply: Callable[[Array], Array]


PREPROCESSINGS = (
    Preprocessing("divided by 255", "--scale 1/255", lambda x: x / 255),
    Preprocessing("multiplied by 255", "--scale 255", lambda x: x * 255),
    Preprocessing(
        "from 0..255 to -1..1", "--scale 1/127.5 --mean 1 --std 1", lambda x: x / 127.5 - 1
    ),
    Preprocessing("from 0..1 to -1..1", "--mean 0.5 --std 0.5", lambda x: x * 2 - 1),
    Preprocessing("with blue and red swapped", "your own data function", lambda x: x[..., ::-1]),
)


def check_data(model: keras.Model, dataset: Dataset, seed: int = 0) -> list[Finding]:
    """Findings about a model on its data.

    Args:
        model: A built Keras model.
        dataset: Data opened for it.
        seed: Draws the samples.

    Returns:
        The findings, in the order of the checks.
    """
    split = dataset.test or dataset.val or dataset.training_split
    inputs, targets = split.sample(_SAMPLES, seed)
    found = [*scales_of_splits(dataset, seed), *scaled_twice(model, dataset), *logits(dataset)]
    judged = list(preprocessing(partial(outputs_of, model), dataset, inputs, targets))
    wrong = any(finding.severity == "problem" for finding in judged)
    if not wrong:  # else what is dead is so for the wrong inputs
        found += dead_layers(model, inputs)
    return [*_remarks(dataset, judged), *found, *judged]


def _remarks(dataset: Dataset, judged: list[Finding]) -> Iterator[Finding]:
    """What was remarked on opening, without a suspicion that the model's own figure refutes."""
    classifies = dataset.task.kind == "classification"
    refuted = classifies and [finding.severity for finding in judged] == ["note"]
    for text in dataset.warnings:
        if not (refuted and text.startswith(SUSPECTED_RANGE)):
            yield Finding("warning", "data", "", text)


def scaled_twice(model: keras.Model, dataset: Dataset) -> Iterator[Finding]:
    """Inputs between 0 and 1 into a model that divides by 255 itself."""
    from edgepress.compress.data.preparation.inputs import own_rescaling

    rescaling = own_rescaling(model)
    low, high = dataset.input_range
    if rescaling is None:
        return
    name, factor = rescaling
    yield Finding(
        "note",
        "input",
        name,
        f"'{name}' in the model preprocesses its input: give it the raw values",
    )
    if 0 < factor < 0.1 and max(abs(low), abs(high)) <= 1.5:
        yield Finding(
            "problem",
            "input",
            name,
            f"the inputs run from {low:g} to {high:g} and '{name}' scales them by {factor:g} again",
            "leave out --scale, or give the raw 0..255 values",
        )


def logits(dataset: Dataset) -> Iterator[Finding]:
    """Classifiers without a softmax or sigmoid at the end."""
    for output in dataset.task.outputs:
        if output.logits:
            yield Finding(
                "note",
                "output",
                output.name,
                f"output '{output.name}' has no softmax or sigmoid",
                "the loss is taken from logits; an exported file gives logits too",
            )


def outputs_of(model: keras.Model, inputs: Mapping[str, Array]) -> list[Array]:
    """A model's outputs on samples, in inference mode.

    Args:
        model: A Keras model.
        inputs: Arrays by input name, (samples, …).

    Returns:
        An array for each output.
    """
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def run(batch: Nested) -> list[tf.Tensor]:
        return tf.nest.flatten(model(batch, training=False))

    parts: list[list[Array]] = []
    size = len(next(iter(inputs.values())))
    for start in range(0, size, _CHUNK):
        batch = {key: tf.constant(array[start : start + _CHUNK]) for key, array in inputs.items()}
        given = next(iter(batch.values())) if len(batch) == 1 else batch
        parts.append([np.asarray(part) for part in run(given)])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def preprocessing(
    run: Callable[[Mapping[str, Array]], list[Array]],
    dataset: Dataset,
    inputs: Mapping[str, Array],
    targets: Nested,
) -> Iterator[Finding]:
    """Whether the inputs, read otherwise, would make the model much better.

    Args:
        run: Gives the model's outputs for inputs by name.
        dataset: What the samples are from.
        inputs: The samples, (samples, …) by input name.
        targets: Their targets.
    """
    task = dataset.task
    samples = len(next(iter(inputs.values())))
    given = task.score(run(inputs), targets)
    yield Finding(
        "note",
        "data",
        "",
        f"{task.metric} {given:.4g} on {samples} samples, with the data as given",
    )
    best: tuple[float, Preprocessing] | None = None
    for other in _applicable(inputs):
        changed = {
            key: other.apply(array).astype(array.dtype) if _is_float(array) else array
            for key, array in inputs.items()
        }
        value = task.score(run(changed), targets)
        if best is None or task.better(value, best[0]):
            best = (value, other)
    # Two standard errors of a share of so many samples: what fewer show may be chance.
    if best is not None and task.drop(best[0], given) > max(_BETTER, (2 / samples) ** 0.5):
        value, other = best
        yield Finding(
            "problem",
            "input",
            "",
            f"{task.metric} is {given:.4g} with the data as given, and {value:.4g} with the inputs "
            f"{other.text}: the preprocessing is wrong",
            f"pass {other.options}",
        )
    elif task.kind == "classification":
        yield from _numbering(run(inputs)[0], given, dataset, targets)


def _numbering(scores: Array, value: float, dataset: Dataset, targets: Any) -> Iterator[Finding]:
    """Whether classes are numbered as the model knows them, as far as its answers show it."""
    reordered = _in_another_order(scores, dataset, targets)
    if reordered is not None:
        yield reordered
    elif _is_chance(value, targets, dataset.task):
        yield Finding(
            "warning",
            "data",
            "",
            f"{dataset.task.metric} {value:.4g} is no better than guessing",
            "the model is untrained, the labels are numbered differently, or preprocessing is"
            " missing",
        )


def _in_another_order(scores: Array, dataset: Dataset, targets: Any) -> Finding | None:
    """Whether the model knows the classes, by other numbers than the data gives them.

    Args:
        scores: (samples, classes) outputs of the model.
        dataset: What the samples are from.
        targets: Their targets.
    """
    from scipy.optimize import linear_sum_assignment

    if len(dataset.task.outputs) > 1 or not isinstance(targets, np.ndarray):
        return None
    classes, size = scores.argmax(-1), scores.shape[-1]
    labels = targets.reshape(len(targets), -1)
    labels = labels.argmax(1) if labels.shape[1] > 1 else labels[:, 0].astype(np.int64)
    counting = dataset.task.outputs[0].counting(labels)
    if counting is not None:
        labels, classes = labels[counting], classes[counting]
    if len(labels) < _FEWEST * size or len(np.unique(labels)) < 2:
        return None
    table = np.zeros((size, size), np.int64)
    np.add.at(table, (classes, labels), 1)
    order = linear_sum_assignment(-table)[1]
    given, found = (float(np.mean(labels == c)) for c in (classes, order[classes]))
    if found < _KNOWN or found - given < _BETTER_ORDER:
        return None
    names = dataset.class_names or tuple(map(str, range(size)))
    class_list = ",".join(names[n] if n < len(names) else str(n) for n in order)
    folders = bool(dataset.class_names)
    return Finding(
        "problem",
        "data",
        "",
        f"the model knows the classes in another order than the data numbers them: {given:.3f} are"
        f" right as they are, {found:.3f} with its classes taken as {class_list}",
        f"pass --classes {class_list}"
        if folders
        else "number the labels as in the model's training",
    )


def _is_float(array: Array) -> bool:
    return bool(np.issubdtype(array.dtype, np.floating))


def _applicable(inputs: Mapping[str, Array]) -> Iterator[Preprocessing]:
    """The readings that make sense for the range and form of the inputs."""
    images = [a for a in inputs.values() if a.ndim == 4 and _is_float(a)]
    if not images:
        return
    high = max(float(np.abs(image).max()) for image in images)
    colour = all(image.shape[-1] == 3 for image in images)
    for other in PREPROCESSINGS:
        large = other.text in ("divided by 255", "from 0..255 to -1..1")
        swap = other.text.startswith("with blue")
        if (swap and colour) or (not swap and large == (high > 1.5)):
            yield other


def _is_chance(value: float, targets: Nested, task: Task) -> bool:
    """Whether an accuracy is about that of always naming the commonest class."""
    if not isinstance(targets, np.ndarray):
        return False
    counting = task.outputs[0].counting(targets)
    targets = targets if counting is None else targets[counting]
    labels = targets.argmax(-1) if targets.ndim > 1 and targets.shape[-1] > 1 else targets.ravel()
    share = np.bincount(labels.astype(int)).max() / len(labels)
    return value <= share + 2 * np.sqrt(share * (1 - share) / len(labels))


def dead_layers(model: keras.Model, inputs: Mapping[str, Array]) -> Iterator[Finding]:
    """Rectified channels that stay at zero on every sample."""
    import keras

    tensors = _rectified(model)
    if not tensors:
        return
    watched = keras.Model(model.inputs, list(tensors.values()))
    for name, values in zip(tensors, outputs_of(watched, inputs), strict=True):
        channels = values.reshape(-1, values.shape[-1])
        dead = int((~channels.any(axis=0)).sum())
        total = channels.shape[1]
        if dead == total:
            yield Finding(
                "problem",
                "weights",
                name,
                f"'{name}' is zero for every sample: nothing before it reaches the output",
                "check the preprocessing; the layer may have died in training",
            )
        elif dead:
            yield Finding(
                "note",
                "weights",
                name,
                f"{dead} of {total} channels of '{name}' are zero on all samples",
                "prune --structure channels finds such channels",
            )


def _rectified(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """Outputs of the layers that end in a ReLU, by the layer's name."""
    from edgepress.compress.graph import nodes_of, require_graph

    found: dict[str, Any] = {}
    for node in nodes_of(require_graph(model)):
        operation = node.operation
        function = getattr(getattr(operation, "activation", None), "__name__", "")
        plain = type(operation).__name__ in ("ReLU", "Relu") and not getattr(
            operation, "negative_slope", 0
        )
        if (plain or function in ("relu", "relu6")) and len(node.output_tensors) == 1:
            found.setdefault(operation.name, node.output_tensors[0])
    return found
