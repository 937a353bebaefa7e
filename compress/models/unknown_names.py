"""Classes and functions that a saved model needs and that aren't known here, all at once."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgepress.compress.errors import InputError
from edgepress.compress.models.guarding.archives import open_archive
from edgepress.compress.models.guarding.hdf5 import open_hdf5

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Tensor

Kind = Literal["layer", "function"]
LAMBDA = "__lambda__"
_MODELS = frozenset({"Functional", "Model", "Sequential"})


class UnknownName(InputError):
    """A class or function of the user's own that a file needs.

    Args:
        kind: What it is.
        name: What it has to be called in the user's file.
        message: Where it is needed.
        hint: What to do.
        is_code: Whether the file holds its Python code, which isn't run.
    """

    def __init__(
        self, kind: Kind, name: str, message: str, hint: str, *, is_code: bool = False
    ) -> None:
        super().__init__(message, hint)
        self.kind, self.name, self.is_code = kind, name, is_code


def all_unknown(where: str, found: Sequence[UnknownName]) -> InputError:
    """One error for all names that a file needs; the error itself where it is the only one."""
    if len(found) == 1:
        return found[0]
    parts: list[str] = []
    for kind in ("layer", "function"):
        names = [f"'{error.name}'" for error in found if error.kind == kind]
        if names:
            parts.append(f"the {kind}{'s' if len(names) > 1 else ''} {', '.join(names)}")
    wanted = ", ".join(error.name for error in found)
    code = "; code in old files is never run" if any(error.is_code for error in found) else ""
    return InputError(
        f"'{where}' needs {' and '.join(parts)}, which Keras doesn't have{code}",
        f"pass a file that defines {wanted} with --custom-objects file.py",
    )


def stand_in(kind: Kind) -> Any:
    """Something in the place of an unknown class or function, to find the unknown ones behind it.

    What it computes may not fit: whoever builds on it must expect failures.
    """
    import keras

    class StandIn(keras.layers.Layer):
        """Gives what it is given, whatever it is made with."""

        def __init__(self, *_: object, name: str | None = None, **__: object) -> None:
            super().__init__(name=name)

        def call(self, inputs: Tensor, *_: object, **__: object) -> Tensor:
            """The first input."""
            return keras.tree.flatten(inputs)[0]

    return StandIn if kind == "layer" else (lambda x: x)


def missing_in(settings: object, where: str, objects: Mapping[str, Any]) -> InputError | None:
    """What a file of Keras 3 needs beside Keras, as an error; None where nothing is missing.

    Args:
        settings: As `saved_settings` gives them.
        where: The file, for messages.
        objects: The user's own classes and functions by name.
    """
    found: dict[str, UnknownName] = {}
    with suppress(RecursionError):  # nested too deeply: no model of anybody's
        for part, layer in _parts(settings, ""):
            error = _unknown(part, objects, layer) if isinstance(part, dict) else None
            if error is not None:
                found.setdefault(error.name, error)
    return all_unknown(where, list(found.values())) if found else None


def check_lambdas(settings: object, where: str) -> None:
    """Refuse a file of Keras 3 with a lambda among a layer's settings: Keras can't read it back.

    Args:
        settings: As `saved_settings` gives them.
        where: The file, for messages.

    Raises:
        InputError: Names the layers.
    """
    holders: list[str] = []
    with suppress(RecursionError):
        holders += dict.fromkeys(layer for part, layer in _parts(settings, "") if is_lambda(part))
    if holders:
        raise InputError(
            f"'{where}' can't be loaded: a setting of layer {', '.join(map(repr, holders))} is a"
            " lambda, which Keras writes and can't read back",
            "build the model in a function, with a named function in its place, load the weights"
            " there with load_weights, and give file.py:function",
        )


def is_lambda(value: object) -> bool:
    """Whether a saved function is a lambda: its code, or nothing but its being one, is saved."""
    if not isinstance(value, Mapping):
        return bool(value == "<lambda>")
    code = value.get("value")
    return (
        value.get("class_name") == LAMBDA
        or is_lambda(value.get("config"))
        or (value.keys() == {"value"} and isinstance(code, list) and len(code) == 3)
    )


def saved_settings(path: Path) -> Any:
    """The settings in a `.keras` or HDF5 file that can't be loaded; None where they can't be read.

    Args:
        path: The file.
    """
    try:
        if zipfile.is_zipfile(path):
            with open_archive(path) as archive:
                return json.loads(archive.read("config.json"))
        with open_hdf5(path) as file:
            return json.loads(file.attrs["model_config"])
    except (OSError, KeyError, ValueError, RecursionError, zipfile.BadZipFile):
        return None


def _parts(value: object, layer: str) -> Iterator[tuple[Any, str]]:
    """All values within settings, each with the name of the layer that it belongs to."""
    config = value.get("config") if isinstance(value, dict) else None
    if isinstance(config, dict):
        layer = str(config.get("name") or layer)
    yield value, layer
    inner: Iterable[Any] = value if isinstance(value, list) else ()
    for item in value.values() if isinstance(value, dict) else inner:
        yield from _parts(item, layer)


def _unknown(value: dict[str, Any], objects: Mapping[str, Any], layer: str) -> UnknownName | None:
    """The class or function that a saved object is of, where it isn't known."""
    from keras.saving import get_registered_object

    config, name = value.get("config"), value.get("class_name")
    known = {str(value.get(key)) for key in ("registered_name", "class_name")} & objects.keys()
    if name == "function" and isinstance(config, str):
        if config in objects or get_registered_object(config) is not None:
            return None
        if not _is_foreign(config):
            return None
        return UnknownName(
            "function",
            config,
            f"layer '{layer}' uses the function '{config}', which Keras doesn't have",
            f"pass a file that defines {config} with --custom-objects file.py",
        )
    if not name or name == LAMBDA or known or not _is_foreign_class(value):
        return None
    return UnknownName(
        "layer",
        str(name),
        f"layer '{layer}' is of class '{name}', which Keras doesn't have",
        f"pass a file that defines {name} with --custom-objects file.py",
    )


def _is_foreign(function: str) -> bool:
    import keras

    try:
        return keras.activations.get(function) is None
    except ValueError:
        return True


def _is_foreign_class(value: Mapping[str, Any]) -> bool:
    """Whether a saved object is of a class that is neither Keras's nor registered."""
    import keras
    from keras.saving import get_registered_object

    name, config = str(value.get("class_name")), value.get("config")
    if get_registered_object(str(value.get("registered_name"))) is not None:
        return False
    if "module" in value:
        return str(value["module"]).split(".")[0] not in ("keras", "builtins")
    # HDF5 files tell no module; what has a name of its own is a layer.
    is_layer = isinstance(config, dict) and "name" in config
    return is_layer and name not in _MODELS and not hasattr(keras.layers, name)
