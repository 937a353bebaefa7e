"""Tables: `.csv` and `.parquet` files with one column as the target."""

from __future__ import annotations

import csv
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.data.preparation.strings import takes_text
from edgepress.compress.data.readers.labels import ordered
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import reason
from edgepress.compress.kernel.registry import near_names
from edgepress.compress.models.class_lists.own import ClassList, classes_of
from edgepress.compress.models.guarding.tables import check_parquet, check_text

if TYPE_CHECKING:
    import keras
    import pandas
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Table:
    """A table as a model takes it.

    Attributes:
        inputs: (samples, columns) array, or one for each input by name.
        targets: (samples,) values or class indices.
        class_names: Names of the classes, where the target holds text.
        notes: What was done to columns that aren't plain numbers, one line each.
        groups: (samples,) text of what each row belongs to, or None.
    """

    inputs: Any
    targets: Any
    class_names: tuple[str, ...]
    notes: tuple[str, ...]
    groups: Any = None


def read_table(
    path: Path,
    target: str | None,
    model: keras.Model,
    group_by: str | None = None,
    order: Sequence[str] = (),
) -> Table:
    """Read a table for a model.

    A model with one input gets all other columns in file order; one with several inputs gets the
    columns that carry their names (or `NAME_0`, `NAME_1`, …). Text becomes the number of its
    category in alphabetical order, a gap becomes its column's median; notes say so.

    Args:
        path: A `.csv` or `.parquet` file.
        target: Column of the target.
        model: The Keras model.
        group_by: Column of what rows belong to, which is no input.
        order: Names of all classes as they are numbered, where the target holds text; by default
            the alphabet's.

    Returns:
        The table.

    Raises:
        InputError: The target isn't named or isn't there or has gaps, or a column is neither
            numbers nor text.
    """
    if target is None:
        raise InputError(f"'{path}' is a table", "name its target with --target COLUMN")
    texts = _text_columns(path, model, {target, group_by})
    frame = read_frame(path, tuple(texts.values()))
    import pandas  # where it is missing, that was told of

    targets, names = _targets(path, present(frame, target, str(path)), order, classes_of(model))
    if frame.empty:
        raise InputError(f"'{path}' holds no rows")
    notes: list[str] = []
    groups = None if group_by is None else _groups(path, present(frame, group_by, str(path)))
    apart = {target, *([] if group_by is None else [group_by]), *texts.values()}
    given = frame.drop(columns=list(apart))
    features = pandas.DataFrame({name: _without_gaps(path, given[name], notes) for name in given})
    if len(model.inputs) == 1 and not texts:
        return Table(features.to_numpy(np.float32), targets, names, tuple(notes), groups)
    inputs = {
        t.name: present(frame, texts[t.name], str(path)).to_numpy(object)
        if t.name in texts
        else columns_of_input(f"'{path}'", features, t.name).to_numpy(np.float32)
        for t in model.inputs
    }
    if texts and len(model.inputs) == 1 and len(features.columns):
        notes.append(f"columns not read: {', '.join(map(str, features.columns))}")
    return Table(inputs, targets, names, tuple(notes), groups)


def _text_columns(path: Path, model: keras.Model, others: set[str | None]) -> dict[str, str]:
    """The column of each input of strings, by the input's name."""
    names = [tensor.name for tensor in model.inputs if takes_text(tensor)]
    if not names:
        return {}
    header = [name for name in column_names(path) if name not in others]
    found = {name: name for name in names if name in header}
    if len(found) < len(names) == len(model.inputs) == len(header) == 1:
        return {names[0]: header[0]}
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(
            f"'{path}' has no column '{missing[0]}' for the model's input of that name",
            f"its columns are {', '.join(header)}; rename the one that holds the text",
        )
    return found


def column_names(path: Path) -> list[str]:
    """Names of a table's columns.

    Raises:
        InputError: It can't be read.
    """
    if path.suffix == ".csv":
        check_text(path)
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                return next(csv.reader(file), [])
        except (UnicodeDecodeError, csv.Error):
            return []  # told of when it is read
    return list(map(str, read_frame(path).columns))


def present(frame: pandas.DataFrame, name: str, path: str) -> pandas.Series:
    """A column by its name.

    Raises:
        InputError: There is no such column.
    """
    if name not in frame.columns:
        raise InputError(
            f"'{path}' has no column '{name}'",
            _separator(frame.columns) or near_names(name, frame.columns),
        )
    return frame[name]


def _groups(path: Path, column: pandas.Series) -> NDArray[np.str_]:
    if column.isna().any():
        raise InputError(
            f"'{path}': column '{column.name}' has gaps", "fill them, or drop the rows"
        )
    return column.astype(str).to_numpy(str)


def read_frame(path: Path, texts: tuple[str, ...] = ()) -> pandas.DataFrame:
    """A table as it stands, a `pandas.DataFrame`.

    Args:
        path: A `.csv` or `.parquet` file.
        texts: Columns whose cells are texts, whatever stands in them.

    Raises:
        InputError: It can't be read, or pandas is missing.
    """
    try:
        import pandas
    except ImportError:
        raise InputError(
            f"'{path}' is a table, which needs pandas", "pip install 'edgepress[tables]'"
        ) from None
    try:
        if path.suffix == ".csv":
            return _read_csv(path, texts)
        check_parquet(path)
        return pandas.read_parquet(path)
    except InputError:
        raise
    except UnicodeDecodeError:
        raise InputError(
            f"'{path}' can't be read as a table: its text isn't UTF-8",
            "save it as UTF-8, or convert it with iconv",
        ) from None
    except Exception as error:
        raise InputError(f"'{path}' can't be read as a table: {reason(error)}") from None


def _read_csv(path: Path, texts: tuple[str, ...]) -> pandas.DataFrame:
    """A CSV file as it stands: pandas would take cells too many of a first row as row names."""
    import pandas

    check_text(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file), [])
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"'{path}:1' names column '{twice}' twice", "give each its own name")
    with warnings.catch_warnings():
        warnings.simplefilter("error", pandas.errors.ParserWarning)
        try:
            frame = pandas.read_csv(path, index_col=False, converters=dict.fromkeys(texts, str))
            for name in texts:  # what is empty is a text as well
                frame[name] = frame[name].fillna("")
            return frame
        except pandas.errors.ParserWarning:
            raise InputError(
                f"'{path}' has rows of more cells than the {len(names)} columns of its first line",
                _separator(names) or "quote cells that hold commas",
            ) from None


def _separator(columns: Sequence[str] | pandas.Index) -> str:
    """What to do where all names of columns stand in one; empty where they don't."""
    found = [mark for mark in (";", "\t", "|") if len(columns) == 1 and mark in str(columns[0])]
    return f"its columns are separated by {found[0]!r}; separate them by commas" if found else ""


def column_numbers(path: Path, values: pandas.Series, notes: list[str]) -> pandas.Series:
    """A column as numbers, NaN where it has gaps; what is done to text is noted.

    Raises:
        InputError: It is empty, or holds neither numbers nor names of categories.
    """
    if values.dtype.kind == "b":
        return values.astype(np.float32)
    if values.dtype.kind not in "iuf":
        values = _of_text(path, values, notes)
    if values.isna().all():
        raise InputError(f"'{path}': column '{values.name}' is empty", "leave it out")
    return values


def _without_gaps(path: Path, values: pandas.Series, notes: list[str]) -> pandas.Series:
    """A column as numbers, its gaps filled with the median."""
    values = column_numbers(path, values, notes)
    gaps = int(values.isna().sum())
    if gaps:
        median = float(values.median())
        notes.append(f"column '{values.name}': {gaps} gaps filled with its median {median:g}")
        values = values.fillna(median)
    return values


# What people write where they know nothing, beside what pandas takes for gaps.
_GAPS = ("", "?", "-", "--", ".")
# A column of which so many cells are numbers is one of numbers.
_MOSTLY = 0.5
# Text that isn't the name of a category: it has an order of its own.
_UNIT = "numbers with a unit"
_NOT_CATEGORIES = {
    _UNIT: (
        r"[+-]?\d+([.,]\d+)?(\s+\D+|\s*[%°]\D*)",
        "write the numbers alone, and the unit in the column's name",
    ),
    "numbers with commas": (
        r"[+-]?(\d{1,3}(,\d{3})+(\.\d+)?|\d*,\d+)",
        "write a point before decimals, and nothing between thousands",
    ),
    "times": (
        r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?(\s*[aApP]\.?[mM]\.?)?",
        "write them as numbers, such as hours",
    ),
    "dates": (
        r"(\d{4}([-/.])\d{1,2}\2\d{1,2}|\d{1,2}([-/.])\d{1,2}\3\d{2,4})([T ].*)?",
        "write them as numbers, such as days, or leave the column out",
    ),
}


_WITH_UNIT = (
    r"(?P<before>[^\w\s.,+-]?)\s*(?P<number>[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?)\s*"
    r"(?P<behind>([^\d\s].*)?)"
)


def _of_text(path: Path, values: pandas.Series, notes: list[str]) -> pandas.Series:
    """A column of text as numbers, as the numbers of its categories, or refused."""
    import pandas

    name, present = values.name, values.dropna()
    if not all(isinstance(v, str) for v in present):
        raise InputError(
            f"'{path}': column '{name}' holds {values.dtype}, neither numbers nor text",
            "encode it as numbers, or leave it out",
        )
    values = values.str.strip()
    values = values.mask(values.isin(_GAPS))
    present = values.dropna()
    numbers = pandas.to_numeric(present, errors="coerce")
    if numbers.notna().all():
        return pandas.to_numeric(values)
    if numbers.notna().mean() >= _MOSTLY:
        odd = present[numbers.isna()].iloc[0]
        raise InputError(
            f"'{path}': column '{name}' holds '{odd}' among numbers",
            "write a number, or leave the cell blank",
        )
    _refuse_quantities(path, name, present)
    return _categories(values, present, notes)


def _refuse_quantities(path: Path, name: object, present: pandas.Series, other: str = "") -> None:
    """Refuse text that isn't names: it has an order of its own."""
    texts, first = present.unique().tolist(), present.iloc[0]
    for kind, (pattern, hint) in _NOT_CATEGORIES.items():
        unit = kind == _UNIT and _have_a_unit(texts)
        if unit or all(re.fullmatch(pattern, text) for text in texts):
            raise InputError(
                f"'{path}': column '{name}' holds {kind}, such as '{first}'", hint + other
            )


def label_column(path: Path, column: pandas.Series, named: bool) -> pandas.Series:
    """A column of labels: numbers where all are, else text; blank cells, `?` and the like are gaps.

    Args:
        path: The table.
        column: As it is read.
        named: Whether somebody lists the classes: then every label is text, whatever it looks like.

    Raises:
        InputError: It holds numbers with a unit, dates or times.
    """
    import pandas

    if column.dtype.kind in "iub" or (column.dtype.kind == "f" and not named):
        return column
    text = column.map(_written, na_action="ignore").astype(object)
    text = text.mask(text.isin(_GAPS))
    present = text.dropna()
    if named or present.empty:
        return text
    if pandas.to_numeric(present, errors="coerce").notna().all():
        return pandas.to_numeric(text)
    _refuse_quantities(path, column.name, present, ", or name the classes with --classes")
    return text


def _written(cell: object) -> str:
    """A cell as people write it; a column with gaps holds whole numbers as floats."""
    whole = isinstance(cell, float) and cell.is_integer()
    return f"{cell:.0f}" if whole else str(cell).strip()


def _have_a_unit(texts: Sequence[str]) -> bool:
    """Whether all are numbers with a unit right before or behind them, as "-0.5kg" and "$3".

    "2nd" and "3rd", or "7a" and "7b", are names: there the letters differ, and no number is a
    fraction.
    """
    found = [re.fullmatch(_WITH_UNIT, text) for text in texts]
    matches = [match for match in found if match is not None]
    if len(matches) < len(texts):
        return False
    units = {f"{match['before']}{match['behind']}" for match in matches}
    numbers = {match["number"] for match in matches}
    fractions = any(re.search(r"[.,+-]", number) for number in numbers)
    return len(numbers) > 2 and "" not in units and (len(units) == 1 or fractions)


def _categories(values: pandas.Series, present: pandas.Series, notes: list[str]) -> pandas.Series:
    names = sorted(present.unique())
    shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
    notes.append(f"column '{values.name}': text read as 0 to {len(names) - 1} ({shown})")
    return values.map({name: number for number, name in enumerate(names)})


def _targets(
    path: Path, column: pandas.Series, order: Sequence[str], own: ClassList | None
) -> tuple[NDArray[Any], tuple[str, ...]]:
    if column.dtype.kind in "iufb" and not column.isna().any():
        return column.to_numpy(), ()
    labels = label_column(path, column, named=bool(order) or own is not None)
    if labels.isna().any():
        raise InputError(f"'{path}': the target '{column.name}' has gaps", "drop those rows")
    if labels.dtype.kind in "iufb":
        return labels.to_numpy(), ()
    names = ordered(labels.unique().tolist(), order, own)
    index = {name: number for number, name in enumerate(names)}
    return labels.map(index).to_numpy(np.int64), names


def columns_of_input(where: str, features: pandas.DataFrame, name: str) -> pandas.DataFrame:
    """The columns of one of several inputs: that of its name, or NAME_0, NAME_1, ….

    Raises:
        InputError: There are none.
    """
    if name in features.columns:
        return features[[name]]
    numbered = [c for c in features.columns if str(c).rpartition("_")[0] == name]
    if not numbered:
        raise InputError(
            f"{where} has no column for input '{name}'", near_names(name, features.columns)
        )
    return features[numbered]
