"""Keras callbacks that the user names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgepress.compress.errors import InputError
from edgepress.compress.models.user_code import resolve_object


def callbacks_of(named: Iterable[Any]) -> list[Any]:
    """Callbacks from `file.py:object` references; objects are given back as they are.

    Args:
        named: References to a callback, or to a class or function that gives one without
            arguments; or callbacks.

    Raises:
        InputError: A reference names nothing, or no callback.
    """
    return [_callback(one) if isinstance(one, str) else one for one in named]


def _callback(reference: str) -> Any:
    import keras

    found = resolve_object(reference)
    if not isinstance(found, keras.callbacks.Callback) and callable(found):
        try:
            found = found()
        except Exception as error:
            raise InputError(
                f"callback '{reference}' fails: {type(error).__name__}: {error}"
            ) from error
    if not isinstance(found, keras.callbacks.Callback):
        raise InputError(
            f"'{reference}' is {type(found).__name__}, not a Keras callback",
            "name a keras.callbacks.Callback, or a class or function that gives one",
        )
    return found
