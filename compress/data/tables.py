"""Tables: `.csv` and `.parquet` files with one column as the target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgepress.compress.errors import InputError
from edgepress.compress.registry import near_names


def read_table(path: Path, target: str | None, model: Any) -> tuple[Any, Any, tuple[str, ...]]:
    """Inputs, targets and class names of a table.

    A model with one input gets all other columns in file order; one with several inputs gets the
    columns that carry their names (or `NAME_0`, `NAME_1`, …).

    Args:
        path: A `.csv` or `.parquet` file.
        target: Column of the target.
        model: The Keras model.

    Returns:
        (samples, columns) array or a mapping by input name, (samples,) targets, class names.

    Raises:
        InputError: The target isn't named or isn't there, columns aren't numbers, or have gaps.
    """
    frame = _read(path)
    if target is None:
        raise InputError(f"'{path}' is a table", "name its target with --target COLUMN")
    if target not in frame.columns:
        raise InputError(f"'{path}' has no column '{target}'", near_names(target, frame.columns))
    features = frame.drop(columns=target)
    _check_numbers(path, features)
    targets, names = _targets(path, frame[target])
    if len(model.inputs) == 1:
        return features.to_numpy(np.float32), targets, names
    inputs = {t.name: _columns(path, features, t.name) for t in model.inputs}
    return inputs, targets, names


def _read(path: Path) -> Any:
    try:
        import pandas
    except ImportError:
        raise InputError(
            f"'{path}' is a table, which needs pandas", "pip install 'edgepress[tables]'"
        ) from None
    try:
        return pandas.read_csv(path) if path.suffix == ".csv" else pandas.read_parquet(path)
    except Exception as error:
        raise InputError(f"'{path}' can't be read as a table: {error}") from None


def _check_numbers(path: Path, features: Any) -> None:
    for column in features.columns:
        values = features[column]
        if values.dtype.kind not in "iufb":
            raise InputError(
                f"'{path}': column '{column}' holds {values.dtype}, not numbers",
                "encode it as numbers, or leave it out",
            )
        if values.isna().any():
            row = int(values.isna().to_numpy().argmax())
            raise InputError(f"'{path}': column '{column}' has a gap in row {row}", "fill it")


def _targets(path: Path, column: Any) -> tuple[Any, tuple[str, ...]]:
    if column.isna().any():
        raise InputError(f"'{path}': the target '{column.name}' has gaps", "drop those rows")
    if column.dtype.kind in "iufb":
        return column.to_numpy(), ()
    names = sorted(column.astype(str).unique())
    index = {name: number for number, name in enumerate(names)}
    return column.astype(str).map(index).to_numpy(np.int64), tuple(names)


def _columns(path: Path, features: Any, name: str) -> Any:
    if name in features.columns:
        return features[[name]].to_numpy(np.float32)
    numbered = [c for c in features.columns if str(c).rpartition("_")[0] == name]
    if not numbered:
        raise InputError(
            f"'{path}' has no column for input '{name}'", near_names(name, features.columns)
        )
    return features[numbered].to_numpy(np.float32)
