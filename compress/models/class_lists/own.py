"""The order of classes that a model itself names: in its file, beside it, or as an attribute."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from edgepress.compress.errors import InputError
from edgepress.compress.models.class_lists import parsing

if TYPE_CHECKING:
    import keras

# Where people and tools keep the names, in attributes, configurations and metadata.
KEYS = ("class_names", "classes", "labels", "label_names", "names", "id2label")
# Files that lie beside models: of Keras's and TensorFlow's tutorials, Teachable Machine, and
# Hugging Face (only `id2label` of its configuration).
_LINES = ("classes.txt", "labels.txt")
_DOCUMENTS = ("class_names.json", "labels.json", "class_indices.json", "config.json")
# Folders inside a SavedModel that hold such files.
_ASSETS = ("", "assets", "assets.extra")
_MOST_BYTES = 1_000_000
_SHOWN = 5
_HINT = "say which order holds with --classes, all classes in the order of the model's outputs"


@dataclass(frozen=True)
class ClassList:
    """Names of a model's classes in the order of its outputs.

    Attributes:
        names: The names.
        where: What says so.
        inside: Whether the model itself says so, and no file that happens to lie beside it.
    """

    names: tuple[str, ...]
    where: str
    inside: bool = True

    def order_of(self, found: set[str]) -> tuple[str, ...]:
        """The classes in the model's order, each as the data writes it where it has it.

        Capitals, underlines and hyphens may differ. Empty where the list is of something else: a
        file beside the model that names no class of the data, or data of numbers.

        Args:
            found: Names of classes that the data holds.

        Raises:
            InputError: The list names others than the data.
        """
        written = {_plain(name): name for name in found}
        listed = [_plain(name) for name in self.names]
        alike = len(written) == len(found) and len(set(listed)) == len(listed)
        if self.names and found <= set(self.names):
            return self.names
        if alike and written.keys() <= set(listed):
            return tuple(
                written.get(plain, name) for plain, name in zip(listed, self.names, strict=True)
            )
        known = written.keys() & set(listed)
        if all(name.isdecimal() for name in found) or not (known or self.inside):
            return ()
        odd = min(written[plain] for plain in written.keys() - set(listed))
        raise InputError(
            f"the data has class '{odd}', and {self.where} names {self.shown()}", _HINT
        )

    def shown(self) -> str:
        """The first names with their numbers."""
        listed = ", ".join(f"{number} {name}" for number, name in enumerate(self.names[:_SHOWN]))
        return listed + ", …" * (len(self.names) > _SHOWN)

    def note(self, names: Sequence[str], given: bool) -> str:
        """What to say of the order that data was given; empty where it goes without saying.

        Args:
            names: Names of the classes in the order of their numbers.
            given: Whether the user named that order for this call.

        Raises:
            InputError: The data names another order than the model, and nobody said which holds.
        """
        mine = [_plain(name) for name in self.names]
        theirs = [_plain(name) for name in names]
        if len(set(mine)) < len(mine) or set(mine) != set(theirs):
            return ""
        if mine == theirs and list(names) == sorted(names):
            return ""
        if mine == theirs:
            return f"classes are numbered as {self.where} names them: {self.shown()}"
        if given:
            return f"--classes names another order than {self.where}: {self.shown()}"
        shown = ", ".join(f"{number} {name}" for number, name in enumerate(names[:_SHOWN]))
        raise InputError(
            f"the data numbers its classes {shown}, and {self.where} names {self.shown()}", _HINT
        )


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.strip()).casefold()


_REMEMBERED: WeakKeyDictionary[keras.Model, ClassList] = WeakKeyDictionary()


def remember_classes(
    model: keras.Model,
    path: Path,
    own: ClassList | None = None,
    settings: Callable[[], Any] | None = None,
) -> None:
    """Keep what a model's file, or a file beside it, says of its classes, for `classes_of`.

    Args:
        model: What was loaded.
        path: What it was loaded from.
        own: What the file's metadata says, where it has any.
        settings: Reads the file's settings of the model, where it has any.
    """
    found = own or _in_attributes(model)
    if found is None and settings is not None:
        found = _in_settings(settings(), path)
    found = found or _beside(path, model)
    if found is not None:
        _REMEMBERED[model] = found


def classes_of(model: keras.Model, of_boxes: bool = False) -> ClassList | None:
    """The names that a model gives its classes, in the order of its outputs; None without any.

    Args:
        model: A Keras model, or the stand-in of a file.
        of_boxes: Whether it finds boxes: no size of an output is the number of classes then.
    """
    found = _REMEMBERED.get(model) or _in_attributes(model)
    if found is None or not (of_boxes or _fits(found, model)):
        return None
    return found


def _fits(found: ClassList, model: keras.Model) -> bool:
    """Whether a list names as many classes as an output tells apart, each once."""
    tensors = getattr(model, "outputs", None) or ()
    sizes = {2 if t.shape[-1] == 1 else t.shape[-1] for t in tensors if len(t.shape) > 1}
    return len(set(found.names)) == len(found.names) > 1 and len(found.names) in sizes


def _in_attributes(model: keras.Model) -> ClassList | None:
    """A list that the model or one of its layers holds, the last one's first."""
    for owner in (model, *reversed(getattr(model, "layers", ()))):
        for key in KEYS:
            try:
                names = parsing.of_value(getattr(owner, key, None))
            except Exception:  # a property of the user's own
                continue
            if len(names) > 1:
                what = "the model" if owner is model else f"its layer '{owner.name}'"
                return ClassList(names, f"{what} ({key})")
    return None


def _in_settings(settings: object, path: Path) -> ClassList | None:
    """A list in the settings of the model itself, as classes of one's own save them."""
    inner = settings.get("config") if isinstance(settings, Mapping) else None
    if not isinstance(inner, Mapping):
        return None
    for key in KEYS:
        names = parsing.of_value(inner.get(key))
        if len(names) > 1:
            return ClassList(names, f"the settings in '{path}' ({key})")
    return None


def in_metadata(entries: Mapping[str, str], path: Path) -> ClassList | None:
    """A list among texts that a file carries along by name.

    Args:
        entries: The texts.
        path: The file.
    """
    by_name = {_plain(key).replace(" ", "_"): text for key, text in entries.items()}
    for key in KEYS:
        names = parsing.of_text(by_name.get(key, ""))
        if len(names) > 1:
            return ClassList(names, f"the metadata of '{path}' ({key})")
    return None


def _beside(path: Path, model: keras.Model) -> ClassList | None:
    """The first file beside a model, or in a model's folder, that names as many classes."""
    folders = [path / part for part in _ASSETS] if path.is_dir() else []
    for file in _files(*folders, path.parent):
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError):
            continue
        names = parsing.of_lines(text) if file.suffix == ".txt" else _in_document(file, text)
        found = ClassList(names, f"'{file}'", inside=False)
        if _fits(found, model):
            return found
    return None


def _files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        for name in (*_LINES, *_DOCUMENTS):
            file = folder / name
            try:
                if file.is_file() and file.stat().st_size <= _MOST_BYTES:
                    yield file
            except OSError:
                continue


def _in_document(file: Path, text: str) -> tuple[str, ...]:
    if file.name != "config.json":
        return parsing.of_json(text)
    import json

    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    return parsing.of_value(document.get("id2label")) if isinstance(document, dict) else ()
