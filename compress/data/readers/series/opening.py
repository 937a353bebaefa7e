"""Tables of time series as windows by split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.readers.arrays import ArraySource, array_source
from edgepress.compress.data.readers.class_folders import FileKind, files_below, folder_splits
from edgepress.compress.data.readers.labels import ordered
from edgepress.compress.data.readers.opened import OF_WINDOWS, Opened
from edgepress.compress.data.readers.series.events import event_labels
from edgepress.compress.data.readers.series.recordings import (
    Recordings,
    read_recordings,
    sensors,
)
from edgepress.compress.data.readers.series.windows import (
    Rule,
    labelled,
    rule_for,
    window_labels,
    window_starts,
    windows_of,
)
from edgepress.compress.data.readers.tables import columns_of_input, label_column, present
from edgepress.compress.errors import InputError
from edgepress.compress.models.class_lists.own import ClassList, classes_of
from edgepress.compress.specs.recipe import DataSpec

if TYPE_CHECKING:
    import keras
    import pandas

Array = NDArray[Any]
TABLES = FileKind("tables", (".csv", ".parquet"))


@dataclass(frozen=True)
class _Labels:
    """What rows are labelled by: class numbers, with -1 for none, and names; or values."""

    values: Array
    class_names: tuple[str, ...]
    of_classes: bool


def open_series(path: Path, model: keras.Model, spec: DataSpec, fingerprint: str) -> Opened:
    """Windows of a table, or of a folder of tables.

    Args:
        path: A table, a folder of tables, or one with such folders train, val and test.
        model: The Keras model that they are for.
        spec: Which columns there are, and how windows are cut.
        fingerprint: Hash of the content.

    Raises:
        InputError: A table can't be read, windows don't fit the model, or none has a label.
    """
    files = _files(path, spec)
    paths = [file for found in files.values() for file in found]
    recordings = read_recordings(paths, spec.group_by, spec.time_column)
    labels, left_out = _labels(recordings, spec, classes_of(model))
    columns, sensor_notes = sensors(recordings, left_out)
    window = spec.window or 1
    step = spec.step or window
    rule = rule_for(spec.window_label, labels.of_classes, _answers_each(model, window))
    starts = window_starts(recordings.runs, window, step)
    _check_length(recordings, starts, window)
    targets = window_labels(labels.values, starts, window, rule)
    kept = labelled(targets, labels.of_classes)
    if not kept.any():
        raise InputError(f"{recordings.where}: no window has a label", "check --target or --events")
    notes = (*recordings.notes, *sensor_notes, _said(kept, window, step, rule),
             *_short(recordings, window))  # fmt: skip
    starts, targets = starts[kept], targets[kept]
    split_of = np.repeat(list(files), [len(found) for found in files.values()])
    inputs = _inputs(columns, starts, window, model, recordings.where)
    grouped = spec.group_by is not None or len(files.get("all", ())) > 1
    sources: dict[str, ArraySource] = {}
    for split in files:
        here = split_of[recordings.files[starts]] == split
        if not here.any():
            raise InputError(f"the {split} split of '{path}' has no window with a label")
        part = {name: value[here] for name, value in inputs.items()}
        source = array_source(part, targets[here], model, f"'{path}'")
        sources[split] = replace(
            source,
            groups=recordings.groups[starts[here]] if grouped else None,
            rows=np.stack([starts[here], starts[here] + window], 1),
        )
    return Opened(sources, fingerprint, labels.class_names, notes, heeded=OF_WINDOWS)


def _files(path: Path, spec: DataSpec) -> Mapping[str, Sequence[Path]]:
    if not path.is_dir():
        return {"all": [path]}
    events = None if spec.events is None else Path(spec.events).resolve()
    found = {
        split: [f for f in files_below(folder, TABLES) if f.resolve() != events]
        for split, folder in folder_splits(path).items()
    }
    empty = next((split for split, files in found.items() if not files), None)
    if empty is not None:
        raise InputError(f"'{path}' holds no tables" + (f" in {empty}" if empty != "all" else ""))
    return found


def _labels(
    recordings: Recordings, spec: DataSpec, own: ClassList | None
) -> tuple[_Labels, list[str]]:
    """The label of each row, and the columns that are no sensors."""
    others = [name for name in (spec.group_by, spec.time_column) if name is not None]
    if spec.events is not None:
        if spec.target is not None:
            raise InputError("give one of --target and --events")
        path = Path(spec.events)
        if not path.is_file():
            raise InputError(f"--events '{path}' does not exist")
        column, named = event_labels(path, recordings, spec.group_by), others
    elif spec.target is not None:
        column = present(recordings.frame, spec.target, str(recordings.paths[0]))
        named = [spec.target, *others]
    else:
        raise InputError(
            f"{recordings.where}: nothing says what the rows are",
            "name the column of labels with --target, or a file with --events",
        )
    return _numbered(recordings.paths[0], column, spec, own), list(dict.fromkeys(named))


def _numbered(path: Path, column: pandas.Series, spec: DataSpec, own: ClassList | None) -> _Labels:
    labels = label_column(path, column, named=bool(spec.classes))
    missing = labels.isna().to_numpy()
    if missing.all():
        raise InputError(f"column '{column.name}' holds no label")
    kind = labels.dtype.kind
    numbers = labels.dropna()
    whole = kind in "iub" or (kind == "f" and missing.any() and (numbers % 1 == 0).all())
    if kind == "f" and not whole:
        return _Labels(labels.to_numpy(np.float32), (), False)
    if whole and not spec.classes:
        values = labels.fillna(-1).to_numpy(np.int64)
        if values[~missing].min() < 0:
            return _Labels(labels.to_numpy(np.float32), (), False)
        return _Labels(values, (), True)
    text = labels.astype(str).to_numpy(str)
    found = sorted(set(text[~missing]))
    names = ordered(found, spec.classes, own)
    places = {name: number for number, name in enumerate(names)}
    values = np.array([places.get(name, -1) for name in text], np.int64)
    return _Labels(np.where(missing, -1, values), tuple(names), True)


def _answers_each(model: keras.Model, window: int) -> bool:
    """Whether a model's one output has a row for each row of a window."""
    shape = tuple(model.outputs[0].shape)
    return len(model.outputs) == 1 and len(shape) == 3 and shape[1] in (None, window)


def _inputs(
    columns: pandas.DataFrame, starts: Array, window: int, model: keras.Model, where: str
) -> dict[str, Array]:
    """Windows by the names of the model's inputs."""
    found = {}
    for tensor in model.inputs:
        single = len(model.inputs) == 1
        chosen = columns if single else columns_of_input(where, columns, tensor.name)
        shape = tuple(tensor.shape[1:])
        if len(shape) not in (1, 2, 3) or shape[0] not in (None, window):
            raise InputError(
                f"{where}: windows are {window} rows of {len(chosen.columns)} sensors, the model's"
                f" input '{tensor.name}' takes {shape}",
                f"pass --window {shape[0]}" if shape and shape[0] else "check the model's input",
            )
        values = windows_of(chosen.to_numpy(np.float32), starts, window)
        flat = len(shape) == 1 and values.shape[-1] == 1
        found[tensor.name] = values[..., 0] if flat else values
    return found


def _check_length(recordings: Recordings, starts: Array, window: int) -> None:
    if not len(starts):
        longest = int(np.diff(recordings.runs, axis=1).max())
        raise InputError(
            f"{recordings.where}: no {window} rows follow one another without a break, at most"
            f" {longest}",
            "take a shorter --window; rows of a group must stand together, in time order",
        )


def _short(recordings: Recordings, window: int) -> list[str]:
    lengths = np.diff(recordings.runs, axis=1)[:, 0]
    short = int((lengths < window).sum())
    if not short:
        return []
    return [f"{short} of {len(lengths)} recordings are shorter than a window and left out"]


def _said(kept: Array, window: int, step: int, rule: Rule) -> str:
    how = {"majority": "the majority of its rows", "last": "its last row",
           "mean": "the mean of its rows", "each": "a label for each row"}[rule]  # fmt: skip
    text = f"{int(kept.sum()):,} windows of {window} rows every {step}, labelled by {how}"
    lost = int((~kept).sum())
    return text + (f"; {lost:,} without a label are left out" if lost else "")
