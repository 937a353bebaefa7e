"""Results over time, kept in an SQLite file, and the earlier one that a new one is held against."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgepress.benchmarks.gate.change import WORSE
from edgepress.benchmarks.gate.change import Change as Change
from edgepress.benchmarks.gate.comparison import changes as changes
from edgepress.benchmarks.gate.rows import is_benchmark
from edgepress.benchmarks.records.written import check_written
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import reading
from edgepress.compress.kernel.files import read_json

Document = Mapping[str, Any]

_COLUMNS = frozenset({"id", "taken", "label", "document"})
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, taken TEXT NOT NULL, label TEXT NOT NULL, document TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class Earlier:
    """A result to compare with.

    Attributes:
        document: The `benchmark` document.
        source: How messages call it.
    """

    document: dict[str, Any]
    source: str


def check_history(file: Path) -> None:
    """Refuse, before any work, what can't be a history; make it where it doesn't exist.

    Raises:
        InputError: The file can't be used.
    """
    with _database(file):
        pass


def keep(file: Path, document: Document, label: str = "") -> int:
    """Keep a `benchmark` document; give its number.

    Args:
        file: SQLite file, made where it doesn't exist.
        document: What `BenchmarkResult.to_json` gives.
        label: A name for the run, such as a commit.

    Raises:
        InputError: The file can't be used.
    """
    with _database(file) as database:
        taken = datetime.now(UTC).isoformat(timespec="seconds")
        cursor = database.execute(
            "INSERT INTO runs (taken, label, document) VALUES (?, ?, ?)",
            (taken, label, json.dumps(document)),
        )
        database.commit()
        return int(cursor.lastrowid or 0)


def recall(file: Path, which: str = "") -> dict[str, Any]:
    """A kept document: the last one, or the last one with a label or number.

    A run that was itself a regression is passed over, or a gate would let it pass the second time;
    its number still names it.

    Raises:
        InputError: There is none.
    """
    if not file.is_file():
        raise InputError(f"'{file}' does not exist")
    found = _last(file, which, lambda _: True)
    if found is None:
        raise InputError(f"'{file}' holds no run '{which}'" if which else f"'{file}' is empty")
    return found.document


def _begins(path: Path, head: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(head)) == head


def _last(file: Path, which: str, fits: Callable[[Document], bool]) -> Earlier | None:
    """The last kept run of a label or number that fits; else the last of them all.

    One that was a regression is given only where there is no other.
    """
    others: list[Earlier] = []
    regressed: list[Earlier] = []
    with _database(file) as database:
        rows = database.execute(
            "SELECT id, taken, label, document FROM runs"
            " WHERE ?1 = '' OR label = ?1 OR CAST(id AS TEXT) = ?1 ORDER BY id DESC",
            (which,),
        )
        for number, taken, label, text in rows:
            named = f"run {number}{f' ({label})' if label else ''} of '{file}', {taken}"
            document = _kept(text, named)
            found = Earlier(document, named)
            if str(number) != which and _regressed(document):
                regressed.append(found)
            elif fits(document):
                return found
            else:
                others.append(found)
    return next(iter([*others, *regressed]), None)


def _kept(text: str, named: str) -> dict[str, Any]:
    """A row's document; the file may have been edited, or be damaged."""
    with reading(named):
        document = json.loads(text)
        if not is_benchmark(document):
            raise InputError(f"{named} is no benchmark: the history was edited or is damaged")
        check_written(document, named)
    return dict(document)


def _regressed(document: Document) -> bool:
    return any(change["verdict"] == WORSE for change in document.get("changes") or ())


def _check_own(database: sqlite3.Connection, file: Path) -> None:
    """Refuse the database of another program: a table would be added to it."""
    tables = database.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()
    columns = {row[1] for row in database.execute("PRAGMA table_info(runs)")}
    if tables[0] and not columns >= _COLUMNS:
        raise InputError(f"'{file}' is a database of something else", "name another file")


@contextmanager
def _database(file: Path) -> Iterator[sqlite3.Connection]:
    new = not file.exists()
    try:
        with closing(sqlite3.connect(file, timeout=30)) as database:
            _check_own(database, file)
            database.executescript(_SCHEMA)
            yield database
    except sqlite3.Error as error:
        if new and file.is_file() and file.stat().st_size == 0:
            file.unlink()
        raise InputError(f"'{file}' can't be used as a history: {error}") from None


def earlier(source: Path) -> dict[str, Any]:
    """The document to compare with: a JSON file of `benchmark`, a RUN folder, or a history.

    Args:
        source: Its path; `FILE@LABEL` is a history's last run of that label or number.

    Raises:
        InputError: It is none of these.
    """
    found = find_earlier(source)
    assert found is not None
    return found.document


def find_earlier(
    source: Path,
    history: Path | None = None,
    fits: Callable[[Document], bool] = lambda _: True,
) -> Earlier | None:
    """As `earlier`; None where a history that this very result goes into has nothing yet.

    Args:
        source: As for `earlier`.
        history: The history that the new result will be added to: its first run has nothing to
            be compared with.
        fits: Of a history's runs, the last that fits is taken.

    Raises:
        InputError: There is no such result.
    """
    path, which = _parts(source, history)
    if is_history(source, history):
        return _last(path, which, fits) if path.is_file() else None
    path = path / "run.json" if path.is_dir() else path
    if path.is_file() and _begins(path, b"SQLite format 3\0"):
        found = _last(path, which, fits)
        if found is None:
            recall(path, which)
        return found
    if which:
        raise InputError(f"'{path}' is no history", "labels are those of a file of --history")
    content = read_json(path)
    document = content.get("benchmark", content) if isinstance(content, dict) else None
    if document is None or not is_benchmark(document):
        raise InputError(f"'{source}' holds no benchmark")
    check_written(document, f"'{source}'")
    return Earlier(document, f"'{source}'")


def is_history(source: Path, history: Path | None) -> bool:
    """Whether a source, with or without a label, is a history."""
    return history is not None and _same_file(_parts(source, history)[0], history)


def _parts(source: Path, history: Path | None) -> tuple[Path, str]:
    """A path and, behind its last @, a label or number."""
    whole = source.exists() or (history is not None and _same_file(source, history))
    if whole or "@" not in source.name:
        return source, ""
    name, _, which = str(source).rpartition("@")
    return Path(name), which


def _same_file(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve()
