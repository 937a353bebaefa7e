"""Labels as people write them, as text or as whole numbers in floats; and what samples count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError
from edgepress.compress.models.class_lists.own import ClassList

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import Nested, SampleWeights

Parts = dict[str, tuple[Any, Any]]


def ordered(
    found: Sequence[str], order: Sequence[str], own: ClassList | None = None
) -> tuple[str, ...]:
    """Names of classes in the order of their numbers: as asked for, the model's, or the alphabet's.

    Args:
        found: The labels, each once.
        order: All classes as they are to be numbered; empty where nobody says.
        own: What the model calls its classes; None where it doesn't say.

    Raises:
        InputError: One is named twice, a label isn't named, or labels are numbers that the alphabet
            would number otherwise.
    """
    if not order and own is not None:
        order = own.order_of(set(found))
    twice = [name for name in order if list(order).count(name) > 1]
    if twice:
        raise InputError(f"class '{twice[0]}' is named twice", "name each class once")
    unknown = sorted(set(found) - set(order))
    if order and unknown:
        raise InputError(
            f"label '{unknown[0]}' isn't among the classes {', '.join(order)}",
            "name it in --classes too",
        )
    return tuple(order) or _by_name(found)


def _by_name(found: Sequence[str]) -> tuple[str, ...]:
    """Labels in the order of the alphabet, in which numbers must stand at their own places."""
    names = tuple(sorted(found))
    if all(name.isdecimal() for name in names) and names != tuple(map(str, range(len(names)))):
        shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
        raise InputError(
            f"labels are numbers written as text ({shown}), which would be numbered otherwise",
            "write them as numbers from 0, or name all classes in the order of the model's outputs"
            " with --classes",
        )
    return names


def numbered(
    parts: Parts, order: Sequence[str] = (), own: ClassList | None = None
) -> tuple[Parts, tuple[str, ...]]:
    """Text labels as class numbers, in alphabetical order over all splits.

    Args:
        parts: (inputs, targets) by split.
        order: All classes as they are to be numbered instead.
        own: What the model calls its classes, in place of the alphabet's order.

    Returns:
        The same with numbers, and the classes' names; unchanged and none where targets aren't text.

    Raises:
        InputError: A label isn't among those that are named.
    """
    targets = {
        split: _as_text(as_array(y, "targets"))
        for split, (_, y) in parts.items()
        if not _is_named(y)
    }
    if len(targets) < len(parts) or any(y.dtype.kind not in "US" for y in targets.values()):
        return parts, ()
    texts = {
        split: y.astype(str) if y.dtype.kind == "U" else _decoded(y) for split, y in targets.items()
    }
    found = np.unique(np.concatenate([y.ravel() for y in texts.values()]))
    names = ordered([str(name) for name in found], order, own)
    numbers = np.array([names.index(str(name)) for name in found], np.int64)
    made = {
        split: (x, numbers[np.searchsorted(found, texts[split])]) for split, (x, _) in parts.items()
    }
    return made, names


def _as_text(array: NDArray[Any]) -> NDArray[Any]:
    """Python's strings as an array of text; anything else as it is."""
    if array.dtype != object or not all(isinstance(value, str) for value in array.flat):
        return array
    return array.astype(str)


def as_array(values: object, what: str) -> NDArray[Any]:
    """What a user gave as one array.

    Raises:
        InputError: It is made of arrays of different shapes, or is no array.
    """
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(
            f"{what} are arrays of different shapes", "give one array, (samples, …)"
        ) from None
    if array.ndim == 0:
        raise InputError(
            f"{what} are a single value, not one for each sample", "give one array, (samples, …)"
        )
    return _common_type(array)


def _common_type(array: NDArray[Any]) -> NDArray[Any]:
    """Numbers in a type that TensorFlow has: of this machine's byte order, 8 bytes at most."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    if array.dtype.kind in "iuf" and not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array


def _is_named(targets: Nested) -> bool:
    return isinstance(targets, Mapping)


def _decoded(targets: NDArray[np.bytes_]) -> NDArray[np.str_]:
    return np.char.decode(targets, "utf-8", "replace")


def whole_labels(targets: NDArray[Any], output: keras.KerasTensor) -> NDArray[Any]:
    """Floats that number the classes of an output as integers; anything else as it is.

    Args:
        targets: (samples, …) array.
        output: The model's output.
    """
    shape = tuple(output.shape)
    inner = targets.shape[:-1] if targets.shape[-1:] == (1,) else targets.shape
    numbers = targets.dtype.kind == "f" and shape[-1] != 1 and len(inner) == len(shape) - 1
    if numbers and (targets == np.floor(targets)).all():
        return targets.astype(np.int64)
    return targets


def fit_weights(
    weights: SampleWeights | None, outputs: Sequence[str], where: str
) -> NDArray[Any] | dict[str, NDArray[Any]] | None:
    """Weights in float32, checked.

    Args:
        weights: (samples, …) array, a mapping of such by output, or None.
        outputs: Names of the model's outputs.
        where: What they come from, for messages.

    Returns:
        The same, a column of one value for each sample as a row.

    Raises:
        InputError: They aren't finite numbers of 0 or more, all are 0, or an output is unknown.
    """
    if weights is None:
        return None
    if not isinstance(weights, Mapping):
        return _checked(weights, f"{where}: sample_weight")
    check_outputs(weights, outputs, where)
    return {n: _checked(value, f"{where}: sample_weight '{n}'") for n, value in weights.items()}


def check_outputs(weights: Any, outputs: Sequence[str], where: str) -> None:
    """Refuse weights of outputs that a model doesn't have.

    Args:
        weights: A mapping by output; of anything else nothing is known.
        outputs: Names of the model's outputs.
        where: What they come from, for messages.

    Raises:
        InputError: Names the output.
    """
    unknown = [name for name in weights if name not in outputs] if _by_output(weights) else []
    if unknown:
        raise InputError(
            f"{where}: sample_weight is for output '{unknown[0]}', which the model doesn't have",
            f"its outputs are {', '.join(outputs)}",
        )


def check_places(weights: Any, targets: Any, where: str) -> None:
    """Refuse weights that are neither one for each sample nor one for each place of its target.

    Args:
        weights: (samples, …) array or specification of a tensor, a mapping of such by output, or
            None; one for several outputs is for each of them.
        targets: (samples, …) array or specification, or the same by output.
        where: What they come from, for messages.

    Raises:
        InputError: Says both shapes.
    """
    for name, array in (weights if _by_output(weights) else {"": weights}).items():
        if array is None:
            continue
        several = targets if _by_output(targets) else {"": targets}
        for output, target in several.items():
            if target is not None and name in ("", output):
                _check_place(tuple(array.shape[1:]), tuple(target.shape[1:]), where)


def _by_output(values: Any) -> bool:
    return isinstance(values, Mapping)


def _check_place(
    weight: tuple[int | None, ...], target: tuple[int | None, ...], where: str
) -> None:
    """Hold the shape of a sample's weight against that of its target."""
    fits = len(weight) <= len(target) and all(
        None in (one, other) or one == other for one, other in zip(weight, target, strict=False)
    )
    if not fits:
        raise InputError(
            f"{where}: sample_weight has {weight} for each sample, its target {target}",
            "give one number for each sample, or one for each place of a mask",
        )


def check_weights(weights: Any, what: str) -> None:
    """Refuse weights of some samples that no loss can be multiplied by.

    Args:
        weights: (samples, …) array.
        what: What they are, for messages.

    Raises:
        InputError: They aren't finite numbers of 0 or more.
    """
    array = as_array(weights, what)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{what} holds {array.dtype} values", "give numbers of 0 or more")
    wrong = ~(np.isfinite(array) & (array >= 0))
    if wrong.any():
        first = int(np.argwhere(wrong)[0][0])
        raise InputError(
            f"{what} of sample {first} is {array[first]}", "give finite numbers of 0 or more"
        )


def _checked(weights: SampleWeights | None, what: str) -> NDArray[np.float32]:
    array = as_array(weights, what)
    check_weights(array, what)
    if array.size and not array.any():
        raise InputError(f"{what} is 0 for all samples", "leave it out")
    single = array.ndim == 2 and array.shape[1] == 1
    return (array[:, 0] if single else array).astype(np.float32)
