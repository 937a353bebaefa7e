"""Folders that Hugging Face's `datasets` wrote: Arrow and Parquet files; nothing in them is run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.readers.class_folders import SPLIT_FOLDERS, FileKind
from edgepress.compress.data.readers.opened import Opened
from edgepress.compress.data.readers.records.columns import Columns, record_sources
from edgepress.compress.data.readers.records.splits import files_by_split
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import reason
from edgepress.compress.models.guarding.limits import check_memory
from edgepress.compress.models.guarding.tables import check_parquet
from edgepress.compress.specs.recipe import DataSpec

if TYPE_CHECKING:
    import keras
    import pyarrow

Array = NDArray[Any]
_SAVED, _SPLITS = "state.json", "dataset_dict.json"
_CELL_BYTES = 16
ARROW = FileKind("Arrow files", (".arrow",))


def is_saved_dataset(path: Path) -> bool:
    """Whether a folder is one of `save_to_disk`, or holds Parquet files and no other tables."""
    if (path / _SAVED).is_file() or (path / _SPLITS).is_file():
        return True
    found = {p.suffix for p in path.rglob("*") if p.suffix in (".parquet", ".arrow", ".csv")}
    return bool(found) and ".csv" not in found


def has_records(path: Path) -> bool:
    """Whether a Parquet file holds more than plain cells: images, lists or bytes."""
    types = _pyarrow().types
    schema = _schema(path)
    return any(
        types.is_nested(field.type)
        or types.is_binary(field.type)
        or types.is_large_binary(field.type)
        for field in schema
    )


def open_saved(path: Path, model: keras.Model, spec: DataSpec, fingerprint: str) -> Opened:
    """A data set that `datasets` saved, or Parquet files as its Hub keeps them.

    Args:
        path: The folder, or a Parquet file.
        model: The Keras model.
        spec: Names the target and the classes, where they are named.
        fingerprint: Hash of the content.

    Raises:
        InputError: A file is damaged, or columns don't fit the model.
    """
    files, left = _files(path)
    columns = {split: _columns(paths, split) for split, paths in files.items()}
    sources, names, notes = record_sources(columns, model, spec)
    unread = [f"splits not read: {', '.join(sorted(left))}"] if left else []
    return Opened(sources, fingerprint, names, (*unread, *notes), heeded=frozenset({"target"}))


def _files(path: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Files by split, and the names of splits that are none of ours."""
    if path.is_file():
        return {"all": [path]}, []
    if not (path / _SPLITS).is_file():
        kinds = (".arrow",) if (path / _SAVED).is_file() else (".parquet", ".arrow")
        found = files_by_split(path, _data_files(path, kinds))
        if (path / _SAVED).is_file():  # one split: a name such as "test" in its path means nothing
            found = {"all": [file for files in found.values() for file in files]}
        if not any(found.values()):
            raise InputError(f"'{path}' holds no Arrow or Parquet files")
        return found, []
    named = [folder for folder in sorted(path.iterdir()) if (folder / _SAVED).is_file()]
    splits = {f: SPLIT_FOLDERS[f.name.lower()] for f in named if f.name.lower() in SPLIT_FOLDERS}
    if not splits:
        raise InputError(
            f"'{path}' has the splits {', '.join(f.name for f in named) or 'of nothing'}",
            "name one of them train, validation or test, or give the folder of one",
        )
    left = [folder.name for folder in named if folder not in splits]
    return {s: sorted(_data_files(f, (".arrow",))) for f, s in splits.items()}, left


def _data_files(folder: Path, endings: Sequence[str]) -> Iterable[Path]:
    return (
        p
        for p in folder.rglob("*")
        if p.suffix in endings and not p.name.startswith((".", "cache-")) and p.is_file()
    )


def _pyarrow() -> ModuleType:
    try:
        import pyarrow
        import pyarrow.types
    except ImportError:
        raise InputError(
            "Arrow and Parquet files need pyarrow", "pip install 'edgepress[tables]'"
        ) from None
    return pyarrow


def _schema(path: Path) -> pyarrow.Schema:
    _pyarrow()
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_schema(path)
    except Exception as error:
        raise InputError(f"'{path}' can't be read as a table: {reason(error)}") from None


def _read(path: Path) -> pyarrow.Table:
    """One file as a `pyarrow.Table`."""
    arrow = _pyarrow()
    import pyarrow.ipc
    import pyarrow.parquet

    try:
        if path.suffix == ".parquet":
            check_parquet(path)
            return pyarrow.parquet.read_table(path)
        with arrow.memory_map(str(path)) as file:
            try:
                return _read_in_parts(path, pyarrow.ipc.open_stream(file))
            except arrow.ArrowInvalid:
                file.seek(0)
                opened = pyarrow.ipc.open_file(file)
                parts = map(opened.get_batch, range(opened.num_record_batches))
                return _read_in_parts(path, parts, opened.schema)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"'{path}' can't be read: {reason(error)}", "copy it again") from None


def _read_in_parts(
    path: Path, parts: Iterable[pyarrow.RecordBatch], schema: pyarrow.Schema | None = None
) -> pyarrow.Table:
    """All parts of an Arrow file; they may be compressed, so that the file's size says nothing."""
    read, kept, size = 0, [], path.stat().st_size
    for part in parts:
        read += part.nbytes
        if read > size:
            check_memory(path, read, size)
        kept.append(part)
    return _pyarrow().Table.from_batches(kept, schema or getattr(parts, "schema", None))


def _once_kept(table: pyarrow.Table) -> int:
    """Bytes of the texts in columns that keep each of them once and repeat it."""
    arrow = _pyarrow()
    import pyarrow.compute

    found = 0
    for column in table.columns:
        for part in column.chunks if arrow.types.is_dictionary(column.type) else ():
            once = part.dictionary
            if _is_text(once.type):
                lengths = pyarrow.compute.binary_length(once).take(part.indices)
                found += pyarrow.compute.sum(lengths).as_py() or 0
            elif arrow.types.is_nested(once.type):
                found += once.nbytes * len(part)  # at the most
    return found


def _is_text(kind: pyarrow.DataType) -> bool:
    types = _pyarrow().types
    tests = (types.is_binary, types.is_large_binary, types.is_string, types.is_large_string)
    return any(test(kind) for test in tests)


def _columns(paths: Sequence[Path], split: str) -> Columns:
    arrow = _pyarrow()
    if not paths:
        raise InputError(f"the split '{split}' has no Arrow or Parquet files")
    size = sum(path.stat().st_size for path in paths)
    check_memory(paths[0], 2 * size, size)
    parts = [_read(path) for path in paths]
    try:
        table = arrow.concat_tables(parts)
    except arrow.ArrowInvalid as error:
        raise InputError(
            f"the files beside '{paths[0]}' differ in their columns: {error}"
        ) from None
    if not table.num_rows:
        raise InputError(f"'{paths[0]}' holds no rows")
    cells = _CELL_BYTES * table.num_rows * table.num_columns
    check_memory(paths[0], cells + size + _once_kept(table), size)
    features = _features(table.schema)
    names = {
        name: tuple(map(str, kind["names"]))
        for name, kind in features.items()
        if isinstance(kind, dict) and kind.get("_type") == "ClassLabel" and "names" in kind
    }
    root = paths[0].parent
    values = {name: _values(name, table[name], root) for name in table.column_names}
    return Columns(values, names, f"the rows of '{paths[0].parent}'")


def _features(schema: pyarrow.Schema) -> Mapping[str, Any]:
    """What `datasets` says of the columns, in the file's own metadata."""
    try:
        metadata = json.loads((schema.metadata or {})[b"huggingface"])
        found = metadata["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _values(name: str, column: pyarrow.ChunkedArray, root: Path) -> Array:
    """A column as an array; gaps are refused where it is read, images and texts are objects."""
    listed = column.to_pylist()
    if any(isinstance(value, dict) for value in listed):
        listed = [_content(name, value, root) for value in listed]
    gap = next((place for place, value in enumerate(listed) if value is None), None)
    if gap is not None:
        return _objects(listed)
    if isinstance(listed[0], bytes | str):
        return _objects(listed)
    try:
        found = np.array(listed)
    except ValueError:
        return _objects(listed)
    narrow = {np.dtype(np.float64): np.float32}
    return found.astype(narrow.get(found.dtype, found.dtype))


def _objects(values: Sequence[Any]) -> Array:
    found = np.empty(len(values), object)
    for place, value in enumerate(values):
        found[place] = value
    return found


def _content(name: str, value: object, root: Path) -> object:
    """The bytes of an image or sound, which are stored, or lie in a file of the data set."""
    if not isinstance(value, dict) or "bytes" not in value:
        return value
    if value["bytes"] is not None:
        return value["bytes"]
    path = value.get("path")
    if path is None:
        return None
    file = (root / path).resolve()
    inside = root.resolve()
    if not file.is_file() or not file.is_relative_to(inside):
        raise InputError(
            f"column '{name}' names the file '{path}', which isn't in '{root}'",
            "save the data set with its files embedded",
        )
    return file.read_bytes()
