"""Labels of rows by a file of events: from when to when what happened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.readers.series.recordings import Recordings
from edgepress.compress.data.readers.tables import column_numbers, present, read_frame
from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import pandas

Array = NDArray[Any]
_FILE = "file"


def event_labels(path: Path, recordings: Recordings, group_by: str | None) -> pandas.Series:
    """The label of each row, None outside of all events.

    An event holds the rows from its start up to, and without, its end, in the units of the time
    column; without one, in rows from 0. Of several recordings the column that groups them, or
    `file`, says which one an event is of.

    Args:
        path: `.csv` or `.parquet` file with the columns start, end and label.
        recordings: The rows.
        group_by: Column of what rows belong to, or None.

    Returns:
        (rows,) `pandas.Series`.

    Raises:
        InputError: A column isn't there, an event ends before it starts, two overlap, or one holds
            no row.
    """
    import pandas

    events = read_frame(path)
    start, end, label = (present(events, name, str(path)) for name in ("start", "end", "label"))
    if label.isna().any():
        raise InputError(f"'{path}': column 'label' has gaps", "name each event")
    starts, ends = (_as_times(path, values) for values in (start, end))
    wrong = np.flatnonzero(~(ends > starts))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(f"'{path}:{row + 2}' ends at {end[row]}, and starts at {start[row]}")
    belongs = _belonging(path, events, recordings, group_by)
    found = pandas.Series([None] * len(recordings.frame), dtype=object)
    owner = np.full(len(found), -1)
    for row in range(len(events)):
        inside = belongs(row) & (recordings.times >= starts[row]) & (recordings.times < ends[row])
        if not inside.any():
            raise InputError(
                f"'{path}:{row + 2}' (from {start[row]} to {end[row]}) holds no row of"
                f" {recordings.where}",
                "start and end are in the units of --time-column COLUMN, else in rows from 0",
            )
        other = owner[inside].max()
        if other >= 0:
            raise InputError(
                f"'{path}:{row + 2}' overlaps the event of line {other + 2}",
                "give each row one label",
            )
        owner[inside] = row
        found[inside] = label[row]
    return found


def _as_times(path: Path, values: pandas.Series) -> Array:
    import pandas

    if values.dtype.kind in "iuf":
        numbers: Array = column_numbers(path, values, []).to_numpy(np.float64)
    else:
        read = pandas.to_datetime(values, errors="coerce", utc=True)
        numbers = (read - pandas.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(np.float64)
    if not np.isfinite(numbers).all():
        odd = values[~np.isfinite(numbers)].iloc[0]
        raise InputError(f"'{path}': column '{values.name}' holds '{odd}', no time")
    return numbers


def _belonging(
    path: Path, events: pandas.DataFrame, recordings: Recordings, group_by: str | None
) -> Callable[[int], Array]:
    """Which rows the recording of an event has, by the event's place."""
    if group_by is not None and group_by in events.columns:
        names = events[group_by].astype(str).to_numpy(str)
        return lambda row: recordings.groups == names[row]
    if _FILE in events.columns:
        files = [str(name) for name in events[_FILE]]
        places = {
            key: n for n, p in enumerate(recordings.paths) for key in (str(p), p.name, p.stem)
        }
        unknown = [name for name in files if name not in places]
        if unknown:
            raise InputError(f"'{path}' has an event of file '{unknown[0]}', which isn't there")
        return lambda row: recordings.files == places[files[row]]
    if len(set(recordings.files.tolist())) > 1 or group_by is not None:
        raise InputError(
            f"'{path}' doesn't say which recording its events are of",
            f"add a column '{group_by or _FILE}'",
        )
    return lambda _: np.ones(len(recordings.frame), bool)
