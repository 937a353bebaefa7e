"""What an optimizer remembers of each weight, carried from one optimizer to another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

# Part of an optimizer's variables, but a setting, not a memory.
_SETTINGS = ("learning_rate",)


def slots_of(
    optimizer: keras.Optimizer, weights: Iterable[keras.Variable]
) -> dict[tuple[int, str], keras.Variable]:
    """An optimizer's variables by the weight that they belong to.

    Keras writes a weight's path into the name of its slots, which is all that binds the two.

    Args:
        optimizer: A built Keras optimizer.
        weights: The weights of the model that it was built for.

    Returns:
        Variables by (identity of the weight, kind of slot); those of no weight, such as the count
        of steps, stand under (0, name). The learning rate is left out.
    """
    by_key = {weight.path.replace("/", "_"): weight for weight in weights}
    found = {}
    for variable in optimizer.variables:
        name = variable.path.partition("/")[2].replace("/", "_")
        if name in _SETTINGS:
            continue
        fitting = [key for key in by_key if name.startswith(f"{key}_")]
        key = max(fitting, key=len, default="")
        owner = id(by_key[key]) if key else 0
        found[owner, name.removeprefix(f"{key}_") if key else name] = variable
    return found


def copy_slots(source: keras.Optimizer, target: keras.Optimizer, model: keras.Model) -> None:
    """Give an optimizer the memory of another one that was built for the same model.

    Args:
        source: A built Keras optimizer.
        target: Another one; slots that only it has stay as they are.
        model: The model.
    """
    held = slots_of(source, model.weights)
    for place, variable in slots_of(target, model.weights).items():
        if place in held and tuple(held[place].shape) == tuple(variable.shape):
            variable.assign(held[place])


def carries(optimizer: keras.Optimizer | None, into: keras.Optimizer) -> bool:
    """Whether an optimizer has a memory that another one, of the same class, can take over."""
    return optimizer is not None and optimizer.built and type(optimizer) is type(into)


def slots_hash(optimizer: keras.Optimizer, model: keras.Model) -> str:
    """Hash of an optimizer's memory; names that Keras counts up stay out of it."""
    digest = hashlib.sha256()
    for variable in slots_of(optimizer, model.weights).values():
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()
