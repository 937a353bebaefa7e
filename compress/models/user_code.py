"""Code that the user names: `module:function`, `file.py:function`, files of custom layers."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tokenize
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import USER_MODULE, running
from edgepress.compress.kernel.registry import near_names


def is_reference(text: str) -> bool:
    """Whether a text has the form `module:function` or `file.py:function`."""
    module, colon, function = text.rpartition(":")
    return bool(colon and module) and function.isidentifier() and "//" not in text


@contextmanager
def told_apart() -> Iterator[None]:
    """Send what code of the user's prints to standard error: standard output is ours."""
    with redirect_stdout(sys.stderr):
        yield


def import_file(path: Path) -> ModuleType:
    """Run a Python file of the user's as a module.

    Raises:
        InputError: The file is missing, or fails while it is imported.
    """
    if not path.is_file():
        raise InputError(f"'{path}' does not exist")
    try:
        with tokenize.open(path) as file:
            text = file.read()
    except (SyntaxError, UnicodeDecodeError):
        raise InputError(
            f"'{path}' is not text in UTF-8", "save it so, or name its encoding in its first line"
        ) from None
    if "\0" in text:
        raise InputError(
            f"'{path}' is not Python code: it holds zero bytes", "is it the right file?"
        )
    spec = importlib.util.spec_from_file_location(USER_MODULE + path.stem, path.absolute())
    if spec is None or spec.loader is None:
        raise InputError(f"'{path}' is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with running(f"importing '{path}'"), told_apart():
        spec.loader.exec_module(module)
    return module


def _import(name: str) -> ModuleType:
    if name.endswith(".py"):
        return import_file(Path(name))
    sys.path.insert(0, "")
    try:
        with running(f"importing module '{name}'"), told_apart():
            try:
                return importlib.import_module(name)
            except ImportError as error:
                raise InputError(
                    f"module '{name}' can't be imported: {error}",
                    "a file is given as file.py:function",
                ) from None
    finally:
        sys.path.remove("")


def resolve_object(text: str) -> object:
    """What `module:name` or `file.py:name` names.

    Raises:
        InputError: The module isn't there, or holds no such thing.
    """
    module, _, name = text.rpartition(":")
    found = vars(_import(module))
    if name not in found:
        known = [n for n in found if not n.startswith("_")]
        raise InputError(f"'{module}' has nothing named '{name}'", near_names(name, known))
    return found[name]


def resolve_reference(text: str) -> Callable[..., Any]:
    """The function that `module:function` or `file.py:function` names.

    Raises:
        InputError: The module or the function isn't there.
    """
    name, _, function = text.rpartition(":")
    module = _import(name)
    found = getattr(module, function, None)
    if not callable(found):
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise InputError(f"'{name}' has no function '{function}'", near_names(function, known))
    return found


def call_reference(text: str) -> Any:
    """Call the function that a reference names, without arguments.

    Raises:
        InputError: It can't be found, or it fails.
    """
    function = resolve_reference(text)
    with running(f"'{text}'"), told_apart():
        return function()


def custom_objects_of(path: Path) -> dict[str, Any]:
    """The classes and functions that a file of custom layers defines, by name."""
    module = import_file(path)
    return {
        name: value
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and callable(value)
    }
