"""Where Keras keeps each variable of a model in a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from keras.src.saving import saving_lib

if TYPE_CHECKING:
    import keras
    from keras.src.saving.keras_saveable import KerasSaveable


class _Names(saving_lib.H5IOStore):
    """A store of Keras that keeps the names under which variables are saved, and no values."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self._path = ""

    def __bool__(self) -> bool:
        return True

    def make(self, path: str, metadata: object = None) -> _Names:  # noqa: ARG002
        self._path = f"{path}/vars/".lstrip("/")
        return self

    def __setitem__(self, key: str, value: Any) -> None:
        self.found[self._path + key] = value


def variable_names(model: keras.Model) -> dict[str, Any]:
    """The variables of a model by the names of the datasets in which Keras saves them.

    Args:
        model: A built Keras model.

    Returns:
        Name of a dataset in `model.weights.h5` → what is saved there, a `keras.Variable` as a rule.
    """
    names = _Names()
    with _short_walks():
        saving_lib._save_state(model, names, None, inner_path="", visited_saveables=set())
    return names.found


@contextmanager
def _short_walks() -> Iterator[None]:
    """Let Keras look for parts in those layers alone that have some.

    It reads every attribute of each layer, which takes longer than all else.
    """
    walk = saving_lib._walk_saveable
    saving_lib._walk_saveable = lambda saveable: () if _is_leaf(saveable) else walk(saveable)
    try:
        yield
    finally:
        saving_lib._walk_saveable = walk


def _is_leaf(saveable: KerasSaveable) -> bool:
    """Whether an object is a layer of Keras's own without any part that has a state."""
    return (
        type(saveable).__module__.startswith("keras.src.layers.")
        and not saveable._layers
        and not saveable._metrics
        and not saveable._seed_generators
    )
