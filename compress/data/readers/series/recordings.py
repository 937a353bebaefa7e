"""Tables of rows in time order, joined, with where one recording ends and the next begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.readers.tables import column_numbers, present, read_frame
from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import pandas

Array = NDArray[Any]
# A step in time of more than so many usual ones is a gap.
_GAP = 1.5


@dataclass(frozen=True)
class Recordings:
    """Rows of all tables, one table after another.

    Attributes:
        frame: The columns as they are written (`pandas.DataFrame`).
        files: (rows,) number of the file of each row.
        paths: The files.
        groups: (rows,) text of what each row belongs to; of files where no column says it.
        times: (rows,) seconds or the numbers of the time column; row numbers within a file where
            there is none.
        runs: (runs, 2) first row, and the one behind the last, of what follows without a break.
        notes: What should be known, one line each.
    """

    frame: Any
    files: Array
    paths: tuple[Path, ...]
    groups: Array
    times: Array
    runs: Array
    notes: tuple[str, ...]

    @property
    def where(self) -> str:
        """What the rows come from, for messages."""
        more = f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else ""
        return f"'{self.paths[0]}'{more}"


def read_recordings(paths: Sequence[Path], group_by: str | None, time: str | None) -> Recordings:
    """Read tables that have the same columns.

    Args:
        paths: `.csv` or `.parquet` files.
        group_by: Column of what rows belong to, or None.
        time: Column of the time of each row, or None.

    Raises:
        InputError: A file can't be read or has other columns, a column isn't there or has gaps, or
            time runs backwards.
    """
    import pandas

    frames = [read_frame(path) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        other = set(frames[0].columns) ^ set(frame.columns)
        if other:
            raise InputError(
                f"'{path}' and '{paths[0]}' don't both have the column '{min(other)}'",
                "give tables of the same columns",
            )
        if frame.empty:
            raise InputError(f"'{path}' holds no rows")
    joined = pandas.concat(frames, ignore_index=True)
    files = np.repeat(np.arange(len(frames)), [len(frame) for frame in frames])
    groups = _groups(joined, group_by, paths, files)
    within = np.concatenate([np.arange(len(frame)) for frame in frames])
    times = within if time is None else _times(joined, time, paths, files)
    breaks = (np.diff(files) != 0) | (groups[1:] != groups[:-1])
    gaps = np.zeros(len(breaks), bool) if time is None else _gaps(times, breaks, paths, files)
    edges = np.concatenate([[0], np.flatnonzero(breaks | gaps) + 1, [len(joined)]])
    notes = []
    if gaps.any():
        first = int(np.flatnonzero(gaps)[0])
        notes.append(
            f"column '{time}' has {int(gaps.sum())} gaps, the first behind row {within[first] + 1}"
            f" of '{paths[files[first]]}': no window crosses one"
        )
    runs = np.stack([edges[:-1], edges[1:]], 1)
    return Recordings(joined, files, tuple(paths), groups, times, runs, tuple(notes))


def _groups(
    frame: pandas.DataFrame, name: str | None, paths: Sequence[Path], files: Array
) -> Array:
    if name is None:
        return np.array([str(path) for path in paths])[files]
    values = present(frame, name, str(paths[0]))
    if values.isna().any():
        raise InputError(f"'{paths[0]}': column '{name}' has gaps", "fill them or drop those rows")
    return values.astype(str).to_numpy(str)


def _times(frame: pandas.DataFrame, name: str, paths: Sequence[Path], files: Array) -> Array:
    """Times as numbers; dates as seconds."""
    import pandas

    values = present(frame, name, str(paths[0]))
    if values.dtype.kind not in "iuf":
        read = pandas.to_datetime(values, errors="coerce", utc=True)
        start = pandas.Timestamp(0, tz="UTC")
        found = (read - start).dt.total_seconds().to_numpy(np.float64)
    else:
        found = values.to_numpy(np.float64)
    wrong = np.flatnonzero(~np.isfinite(found))
    if len(wrong):
        raise InputError(
            f"'{paths[files[wrong[0]]]}': column '{name}' holds '{values.iloc[wrong[0]]}', no time",
            "write seconds or dates",
        )
    return found


def _gaps(times: Array, breaks: Array, paths: Sequence[Path], files: Array) -> Array:
    """(rows - 1,) whether time leaps between two rows of a recording.

    Raises:
        InputError: It stands still or runs backwards.
    """
    steps = np.diff(times)
    inside = steps[~breaks]
    back = np.flatnonzero(~breaks & (steps <= 0))
    if len(back):
        place = int(back[0])
        raise InputError(
            f"'{paths[files[place]]}': time goes from {times[place]:g} to {times[place + 1]:g}",
            "sort the rows by time, those of each group together (--group-by COLUMN)",
        )
    usual = np.median(inside) if len(inside) else 0.0
    return ~breaks & (steps > _GAP * usual)


def sensors(recordings: Recordings, left_out: Sequence[str]) -> tuple[Any, list[str]]:
    """The columns that a model gets, as numbers; gaps are filled along time.

    Args:
        recordings: The rows.
        left_out: Columns that are no sensors.

    Returns:
        The columns (`pandas.DataFrame`), and notes.

    Raises:
        InputError: A column isn't of numbers, or empty in a whole recording.
    """
    import pandas

    given = recordings.frame.drop(columns=list(left_out))
    if not len(given.columns):
        raise InputError(f"{recordings.where} has no columns but {', '.join(left_out)}")
    notes: list[str] = []
    made = {n: column_numbers(recordings.paths[0], given[n], notes) for n in given}
    found = pandas.DataFrame(made)
    run = np.repeat(np.arange(len(recordings.runs)), np.diff(recordings.runs, axis=1)[:, 0])
    for name in found.columns[found.isna().any()]:
        gaps = int(found[name].isna().sum())
        filled = (
            found[name]
            .groupby(run)
            .transform(lambda values: values.interpolate(limit_direction="both"))
        )
        if filled.isna().any():
            first = int(np.flatnonzero(filled.isna())[0])
            raise InputError(
                f"'{recordings.paths[recordings.files[first]]}': column '{name}' is empty in a"
                " whole recording",
                "leave the recording or the column out",
            )
        found[name] = filled
        notes.append(f"column '{name}': {gaps} gaps filled along time, between their neighbours")
    return found, notes
