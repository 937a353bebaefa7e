"""Class folders of text files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgepress.compress.data.readers.arrays import array_source
from edgepress.compress.data.readers.class_folders import (
    FileKind,
    class_names,
    empty_classes,
    files_by_folder,
    folder_splits,
    labelled_files,
    shown_names,
    subfolders,
)
from edgepress.compress.data.readers.opened import Opened
from edgepress.compress.errors import InputError
from edgepress.compress.models.guarding.limits import check_memory
from edgepress.compress.specs.recipe import DataSpec

if TYPE_CHECKING:
    import keras

TEXTS = FileKind("texts", (".txt",))


def open_texts(path: Path, model: keras.Model, spec: DataSpec, fingerprint: str) -> Opened:
    """The text files of class folders.

    Args:
        path: The folder.
        model: The Keras model, with one input of strings.
        spec: Names the classes, where they are named.
        fingerprint: Hash of the content.

    Raises:
        InputError: There are none, or one isn't UTF-8.
    """
    splits = folder_splits(path)
    folders = {folder: files_by_folder(folder, TEXTS) for folder in splits.values()}
    names, notes = class_names(path, folders, model, TEXTS, spec.classes)
    sources = {}
    for split, folder in splits.items():
        files, labels = labelled_files(folder, folders[folder], names, TEXTS)
        texts = np.array(_read(files), object)
        sources[split] = array_source(texts, np.asarray(labels), model, f"'{folder}'")
    all_notes = (*notes, *subfolders(folders, TEXTS), *empty_classes(folders, TEXTS))
    return Opened(sources, fingerprint, shown_names(names), all_notes)


def _read(paths: Sequence[str]) -> list[str]:
    size = sum(Path(path).stat().st_size for path in paths)
    check_memory(Path(paths[0]).parent, size, size)
    found = []
    for path in paths:
        try:
            found.append(Path(path).read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError:
            raise InputError(
                f"'{path}' is no text in UTF-8", "save it as UTF-8, or convert it with iconv"
            ) from None
    return found
