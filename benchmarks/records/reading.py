"""The one place where `run.json` is read and written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from edgepress.benchmarks.records.base import Record, RunPath
from edgepress.benchmarks.records.run import VERSION, RunRecord
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import reason
from edgepress.compress.kernel.files import read_json, write_json

Kept = TypeVar("Kept", bound=Record)


def run_record(values: Mapping[str, Any] | RunRecord, source: str = "the record") -> RunRecord:
    """A record from the values of `run.json`, of this version or an earlier one.

    Args:
        values: What the file holds.
        source: What errors call it.

    Raises:
        InputError: It is of a later version, or a field can't be what it should.
    """
    if isinstance(values, RunRecord):
        return values
    version = values.get("version", 1)
    if not isinstance(version, int) or version > VERSION:
        raise InputError(
            f"{source} is of version {version}, and this edgepress reads up to {VERSION}",
            "use the edgepress that wrote it, or a later one",
        )
    return validated(RunRecord, values if version >= VERSION else _from_1(values), source)


def validated(kind: type[Kept], values: Mapping[str, Any], source: str) -> Kept:
    """A record of some kind from what a file holds.

    Args:
        kind: Of the record.
        values: What the file holds.
        source: What errors call it.

    Raises:
        InputError: A field can't be what it should.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise InputError(
            f"{source} can't be read: {place}: {problem['msg'].removeprefix('Value error, ')}"
        ) from None
    except UnicodeError as error:  # pydantic can't take half a character
        raise InputError(f"{source} can't be read: {reason(error)}") from error


def _from_1(values: Mapping[str, Any]) -> dict[str, Any]:
    """Version 1 knew files by their paths alone, so these stand for their hashes."""
    found = {**values, "version": VERSION}
    hashes = {str(a.get("path")): a.get("sha256") for a in values.get("artifacts") or ()}
    benchmark = dict(values.get("benchmark") or {})
    if benchmark.get("rows"):
        benchmark["rows"] = [
            {**row, "sha256": row.get("sha256") or hashes.get(path) or RunPath.read(path)}
            for row in benchmark["rows"]
            for path in (str(row.get("path") or row.get("artifact")),)
        ]
        found["benchmark"] = benchmark
    found["stages"] = [
        {"float_sha256": f"stages/{stage.get('name')}/model.tflite", **stage}
        for stage in values.get("stages") or ()
    ]
    return found


def read_run(path: Path) -> RunRecord:
    """The record in a file.

    Raises:
        InputError: It is missing, isn't JSON, isn't the record of a run, or is of a later version.
    """
    values = read_json(path)
    if not isinstance(values, dict):
        raise InputError(f"'{path}' is not the record of a run")
    return run_record(values, f"'{path}'")


def write_run(path: Path, record: RunRecord) -> None:
    """Write a record, whole or not at all."""
    write_json(path, record.to_json())
