"""Model files that hold no Keras model: what they are, and what can be done with them."""

from __future__ import annotations

from pathlib import Path

from edgepress.compress.errors import InputError

KINDS = {".tflite": "a TFLite file", ".onnx": "an ONNX file"}
SAVED_MODEL = "a SavedModel"


class NotKeras(InputError):
    """A model of another kind: it runs and can be exported, but not trained or pruned.

    Args:
        path: The file or folder.
        what: What it is, with its article.
    """

    def __init__(self, path: Path | str, what: str) -> None:
        super().__init__(
            f"'{path}' is {what} that holds no Keras model: it can't be fine-tuned or pruned",
            "inspect, doctor, export, verify and benchmark take it; for the rest give the Keras"
            " model that it was made from",
        )


def other_kind(path: Path) -> str | None:
    """What a file is by its name, with its article; None where it may hold a Keras model."""
    kind = KINDS.get(path.suffix.lower())
    return kind if kind and is_there(path) and path.is_file() else None


def check_there(path: Path) -> None:
    """Refuse a model's file or folder that isn't there.

    Raises:
        InputError: It isn't.
        PermissionError: Its folder can't be read.
    """
    if not is_there(path):
        raise InputError(
            f"model '{path}' does not exist",
            "give a .keras or .h5 file, a SavedModel folder, or file.py:function returning a model",
        )


def is_there(path: Path) -> bool:
    """Whether a path exists; a name that no file can have doesn't.

    Raises:
        PermissionError: Its folder can't be read.
    """
    try:
        return path.exists()
    except PermissionError:
        raise
    except OSError:
        return False
