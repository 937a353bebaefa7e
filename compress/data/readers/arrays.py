"""Data that lies in memory: `.npz` files and mappings of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.naming import by_name, weights_by_name
from edgepress.compress.data.preparation.strings import as_texts, takes_text
from edgepress.compress.data.readers.labels import as_array, check_places, fit_weights, whole_labels
from edgepress.compress.data.tasks import output_names
from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Nested, SampleWeights

Array = NDArray[Any]
Arrays = dict[str, Array]

SPLITS = ("train", "val", "test")
_WEIGHT = "sample_weight"
_PREFIXES = {"x": "inputs", "y": "targets", _WEIGHT: "weights"}
# Layers by which steps behind a sequence's end are known or are tokens of their own.
_OF_SEQUENCES = ("Masking", "Embedding")


@dataclass(frozen=True)
class ArraySource:
    """Samples in arrays.

    Attributes:
        inputs: (samples, …) by input name.
        targets: (samples, …), or the same by output name.
        weights: (samples, …) what each counts in the loss, or the same by output name; None where
            all count the same.
        groups: (samples,) what each belongs to, which stays in one split; or None.
        rows: (samples, 2) first row of a table, and the one behind the last, that each is of; or
            None.
    """

    inputs: Arrays
    targets: Any
    weights: Any = None
    groups: Array | None = None
    rows: Array | None = None

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(next(iter(self.inputs.values())))

    def batches(self, order: Array | None, batch_size: int) -> tf.data.Dataset:
        """A `tf.data.Dataset` of batches in the given order."""
        return self._drawn((self.inputs, self.targets), order, batch_size)

    @property
    def weighted(self) -> bool:
        """Whether samples have weights."""
        return self.weights is not None

    def weighted_batches(self, order: Array | None, batch_size: int) -> tf.data.Dataset:
        """As `batches`, with the weights behind each batch's targets."""
        return self._drawn((self.inputs, self.targets, self.weights), order, batch_size)

    def _drawn(self, stored: Any, order: Array | None, batch_size: int) -> tf.data.Dataset:
        import tensorflow as tf

        indices = tf.data.Dataset.from_tensor_slices(
            np.arange(self.size) if order is None else order
        ).batch(batch_size)
        if self.on_disk:
            return indices.map(lambda chosen: _read(stored, chosen))
        # Weights are few beside the samples, which are copied once rather than in every epoch.
        held = (*self._tensors, *tf.nest.map_structure(tf.constant, stored[2:]))
        return indices.map(
            lambda chosen: tf.nest.map_structure(lambda a: tf.gather(a, chosen), held)
        )

    @property
    def on_disk(self) -> bool:
        """Whether the arrays lie in a file, so that only the rows that are asked for are read."""
        return any(isinstance(a, np.memmap) for a in (*self.inputs.values(), self.targets))

    @cached_property
    def _tensors(self) -> Any:
        """The arrays as tensors, copied once rather than in every epoch."""
        import tensorflow as tf

        return tf.nest.map_structure(tf.constant, (self.inputs, self.targets))

    def labels(self) -> Array | None:
        """(samples,) class of each sample, where the targets are classes."""
        return class_labels(self.targets)

    def part(self, indices: Array) -> ArraySource:
        """The samples at some indices."""
        parts = (self.inputs, self.targets, self.weights, self.groups, self.rows)
        return ArraySource(*(_rows(part, indices) for part in parts))


def _rows(part: Any, indices: Array) -> Any:
    """Rows of an array, or of each of several by name."""
    if isinstance(part, dict):
        return {name: value[indices] for name, value in part.items()}
    return None if part is None else part[indices]


def _read(stored: Any, chosen: Any) -> Any:
    """The rows of arrays at some indices, as tensors."""
    import tensorflow as tf

    arrays = tf.nest.flatten(stored)
    rows = tf.numpy_function(
        lambda places: [np.asarray(array[places]) for array in arrays],
        [chosen],
        [tf.as_dtype(array.dtype) for array in arrays],
    )
    for tensor, array in zip(rows, arrays, strict=True):
        tensor.set_shape((None, *array.shape[1:]))
    return tf.nest.pack_sequence_as(stored, rows)


def class_labels(targets: Nested) -> Array | None:
    """(samples,) classes of integer or one-hot targets; None where targets aren't classes."""
    if not isinstance(targets, np.ndarray):
        return None
    if targets.ndim == 2 and targets.shape[1] > 1 and np.isin(targets[:1000], (0, 1)).all():
        return targets.argmax(1) if (targets.sum(1) == 1).all() else None
    flat = targets.reshape(len(targets), -1)
    if flat.shape[1] != 1 or not np.issubdtype(targets.dtype, np.integer):
        return None
    labels: Array = flat[:, 0]
    return labels if len(np.unique(labels)) <= max(2, len(labels) // 2) else None


def split_arrays(arrays: Mapping[str, Any], where: str) -> dict[str, tuple[Any, Any, Any]]:
    """Sort arrays by their names into splits.

    Args:
        arrays: By names such as `x_train`, `y_val`, `x`, `data_input`, `x_train__NAME`,
            `sample_weight_train`.
        where: What they come from, for messages.

    Returns:
        (inputs, targets, weights or None) by split, "all" being data without splits; several inputs
        or outputs are mappings by name.

    Raises:
        InputError: Names are missing or unknown.
    """
    sorted_: dict[str, dict[str, Any]] = {}
    for name, value in arrays.items():
        place = _place(name)
        if place is None:
            continue
        _put(sorted_.setdefault(place[1], {}), place, name, value, where)
    if not sorted_:
        found = ", ".join(sorted(arrays)) or "nothing"
        raise InputError(
            f"{where} holds {found}",
            "name the arrays x_train, y_train (x_val, y_val, x_test, y_test) or x, y",
        )
    for split, slot in sorted_.items():
        missing = {"inputs", "targets"} - slot.keys()
        if missing:
            suffix = "" if split == "all" else f"_{split}"
            if slot.keys() == {"weights"}:
                raise InputError(
                    f"{where}: '{_WEIGHT}{suffix}' stands beside no 'x{suffix}'",
                    "name weights as the samples that they are for",
                )
            lacking = "x" if "inputs" in missing else "y"
            raise InputError(f"{where} has no array '{lacking}{suffix}'")
    return {
        split: (slot["inputs"], slot["targets"], slot.get("weights"))
        for split, slot in sorted_.items()
    }


def is_read(name: str) -> bool:
    """Whether an array of this name is read."""
    return _place(name) is not None


def _put(
    slot: dict[str, Any], place: tuple[str, str, str], name: str, value: Any, where: str
) -> None:
    """Give an array its place among those of its split; two can't have the same."""
    side, _, tensor = place
    if tensor and isinstance(slot.setdefault(side, {}), dict):
        slot[side][tensor] = value
    elif tensor or side in slot:
        raise InputError(
            f"{where}: '{name}' stands beside another array of the same {side}",
            f"name all {side} of a split behind two underscores, or give one array",
        )
    else:
        slot[side] = value


def _place(name: str) -> tuple[str, str, str] | None:
    """(inputs, targets or weights; split; tensor name) that an array's name stands for."""
    if name in ("data_input", "data_target"):
        return ("inputs" if name == "data_input" else "targets"), "all", ""
    head, _, tensor = name.partition("__")
    weighs = head == _WEIGHT or head.startswith(f"{_WEIGHT}_")
    side, _, split = (_WEIGHT, "", head[len(_WEIGHT) + 1 :]) if weighs else head.partition("_")
    split = {"": "all", "valid": "val", "validation": "val"}.get(split, split)
    if side not in _PREFIXES or split not in (*SPLITS, "all"):
        return None
    return _PREFIXES[side], split, tensor


def array_source(
    inputs: Nested,
    targets: Nested,
    model: keras.Model,
    where: str,
    resized: bool = False,
    weights: SampleWeights | None = None,
) -> ArraySource:
    """Arrays checked against a model's inputs.

    Args:
        inputs: (samples, …) array; of several inputs a mapping by name, or a list in their order.
        targets: (samples, …) array; of several outputs likewise.
        model: The Keras model.
        where: What they come from, for messages.
        resized: Whether images are resized later, so that height and width may differ.
        weights: (samples, …) array, of several outputs also a mapping by name; or None.

    Raises:
        InputError: Names, shapes or lengths don't fit, values are NaN, or there are no samples.
    """
    inputs, targets = by_name(inputs, targets, model)
    named = _name_inputs(_padded(inputs, model), model, where)
    fitted = {t.name: _fit(named[t.name], t, where, resized) for t in model.inputs}
    prepared = _fit_targets(targets, model, where)
    counting = fit_weights(weights_by_name(weights, model), output_names(model), where)
    check_places(counting, prepared, where)
    source = ArraySource(fitted, prepared, counting)
    held = {f"sample_weight {n}".strip(): a for n, a in _named(counting, "").items()}
    have = {**{f"input '{n}'": a for n, a in fitted.items()}, **_named(prepared), **held}
    lengths = {len(a) for a in have.values()}
    if len(lengths) > 1:
        counts = ", ".join(f"{name} {len(a)}" for name, a in have.items())
        raise InputError(
            f"{where}: the numbers of samples differ: {counts}",
            "give one target for each sample",
        )
    if source.size == 0:
        raise InputError(f"{where}: there are no samples")
    return source


def _padded(inputs: Nested, model: keras.Model, name: str = "") -> Nested:
    """Lists of sequences of different length as one array, padded behind with the mask's value."""
    if isinstance(inputs, Mapping):
        return {name: _padded(value, model, name) for name, value in inputs.items()}
    if not isinstance(inputs, list) or len({len(np.shape(s)) and len(s) for s in inputs}) < 2:
        return inputs
    tensor = next((t for t in model.inputs if t.name == name), model.inputs[0])
    reads = any(type(layer).__name__ in _OF_SEQUENCES for layer in model.layers)
    if len(tensor.shape) > 3 or (
        len(tensor.shape) == 2 and tensor.shape[1] is not None and not reads
    ):
        one, other = list(dict.fromkeys(np.shape(s) for s in inputs))[:2]
        raise InputError(
            f"samples of input '{tensor.name}' have different shapes, such as {one} and {other}",
            f"bring all to one shape: the model takes {tuple(tensor.shape[1:])}",
        )
    import keras

    masks = [layer.mask_value for layer in model.layers if type(layer).__name__ == "Masking"]
    value = masks[0] if masks else 0.0
    try:
        return keras.utils.pad_sequences(inputs, dtype="float32", padding="post", value=value)
    except ValueError as error:
        raise InputError(
            f"the sequences have different feature shapes: {error}",
            "they may differ in length, but every step must have the same shape",
        ) from None


def _fit_targets(targets: Nested, model: keras.Model, where: str) -> Array | Arrays:
    """Finite targets; where outputs end in an axis of length 1 that targets lack, it is added."""
    if isinstance(targets, Mapping):
        named = {n: (v, f"{where}: target '{n}'") for n, v in targets.items()}
        return {name: _finite(as_array(*value), value[1]) for name, value in named.items()}
    array = _finite(as_array(targets, f"{where}: targets"), f"{where}: targets")
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{where}: targets are {array.dtype}, not numbers", "number the classes from 0"
        )
    shape = model.outputs[0].shape
    lacks_axis = len(model.outputs) == 1 and shape[-1:] == (1,) and array.ndim == len(shape) - 1
    if lacks_axis:
        return array[..., None]
    return whole_labels(array, model.outputs[0]) if len(model.outputs) == 1 else array


def _named(part: Any, name: str = "targets") -> Arrays:
    if part is None:
        return {}
    return part if isinstance(part, dict) else {name: part}


def _name_inputs(inputs: Nested, model: keras.Model, where: str) -> Arrays:
    names = [t.name for t in model.inputs]
    if not isinstance(inputs, Mapping):
        if len(names) > 1:
            raise InputError(
                f"{where}: the model has {len(names)} inputs, the data one",
                "name the arrays " + ", ".join(f"x_train__{n}" for n in names),
            )
        return {names[0]: as_array(inputs, f"{where}: inputs")}
    missing = [n for n in names if n not in inputs]
    if missing:
        raise InputError(
            f"{where}: no array for input '{missing[0]}'",
            f"the data has {', '.join(map(str, inputs))}, the model {', '.join(names)}",
        )
    return {name: as_array(inputs[name], f"{where}: input '{name}'") for name in names}


def _fit(array: Array, tensor: keras.KerasTensor, where: str, resized: bool) -> Array:
    """The array with the tensor's rank; an absent channel axis of length 1 is added."""
    if takes_text(tensor):
        return as_texts(array, tuple(tensor.shape[1:]), f"{where}: input '{tensor.name}'")
    if array.dtype == object:
        raise InputError(f"{where}: input '{tensor.name}' holds Python objects, not numbers")
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{where}: input '{tensor.name}' holds {array.dtype} values",
            "models take real numbers: encode them first",
        )
    expected = tuple(tensor.shape[1:])
    if array.ndim == len(expected) and expected[-1:] == (1,):
        array = array[..., None]
    free = (0, 1) if resized and len(expected) == 3 else ()
    fits = array.ndim == len(expected) + 1 and all(
        e is None or e == size or axis in free
        for axis, (e, size) in enumerate(zip(expected, array.shape[1:], strict=True))
    )
    if not fits:
        turned = array.shape[1:] == (*expected[-1:], *expected[:-1])
        raise InputError(
            f"{where}: samples have shape {array.shape[1:]}, the model's input '{tensor.name}'"
            f" takes {expected}",
            "move the channels last"
            if turned
            else f"the data belongs to another model, or needs {_remedy(len(expected))}",
        )
    return _finite(array, f"{where}: input '{tensor.name}'")


def _remedy(axes: int) -> str:
    """What makes samples fit an input of so many axes."""
    return {1: "other columns: leave out those that it doesn't take", 3: "--resize"}.get(
        axes, "preprocessing"
    )


def _finite(array: Array, what: str) -> Array:
    if np.issubdtype(array.dtype, np.floating):
        bad = ~np.isfinite(array)
        if bad.any():
            first = int(np.argwhere(bad)[0][0])
            raise InputError(
                f"{what} holds {int(bad.sum())} values that are NaN or infinite,"
                f" the first in sample {first}",
                "fill or drop those samples",
            )
    return array
