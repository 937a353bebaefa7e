"""Results over time: kept in an SQLite file, and held against earlier ones.

A result slower than an earlier one is called a regression only when it is so beyond what both runs
could see: their 95 % intervals are apart, and the difference exceeds their noise.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgepress.compress.errors import InputError
from edgepress.compress.files import read_json

Document = Mapping[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, taken TEXT NOT NULL, label TEXT NOT NULL, document TEXT NOT NULL
);
"""
# Below this nothing is called a regression: another day, another temperature.
_LEAST = 0.03


@dataclass(frozen=True)
class Change:
    """One row against its earlier self.

    Attributes:
        artifact: Its label.
        device: Where it was measured.
        quantity: "latency", "size", "arena" or the metric's name.
        before: Earlier value.
        after: Present value.
        verdict: "regression", "improvement" or "same".
        reason: Why, in words.
    """

    artifact: str
    device: str
    quantity: str
    before: float
    after: float
    verdict: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return dict(vars(self))


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

    Raises:
        InputError: There is none.
    """
    if not file.is_file():
        raise InputError(f"'{file}' does not exist")
    with _database(file) as database:
        row = database.execute(
            "SELECT document FROM runs WHERE ?1 = '' OR label = ?1 OR CAST(id AS TEXT) = ?1"
            " ORDER BY id DESC LIMIT 1",
            (which,),
        ).fetchone()
    if row is None:
        raise InputError(f"'{file}' holds no run '{which}'" if which else f"'{file}' is empty")
    found: dict[str, Any] = json.loads(row[0])
    return found


@contextmanager
def _database(file: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(file, timeout=30)) as database:
            database.executescript(_SCHEMA)
            yield database
    except sqlite3.Error as error:
        raise InputError(f"'{file}' can't be used as a history: {error}") from None


def earlier(source: Path) -> dict[str, Any]:
    """The document to compare with: a JSON file of `benchmark`, a RUN folder, or a history.

    Args:
        source: Its path; `FILE@LABEL` is a history's last run of that label or number.

    Raises:
        InputError: It is none of these.
    """
    which = ""
    if not source.exists() and "@" in source.name:
        name, _, which = str(source).rpartition("@")
        source = Path(name)
    path = source / "run.json" if source.is_dir() else source
    if path.is_file() and path.read_bytes()[:16] == b"SQLite format 3\0":
        return recall(path, which)
    if which:
        raise InputError(f"'{path}' is no history", "labels are those of a file of --history")
    told = read_json(path)
    document = told.get("benchmark", told) if isinstance(told, dict) else None
    if not isinstance(document, dict) or "rows" not in document:
        raise InputError(f"'{source}' holds no benchmark")
    return document


def changes(before: Document, after: Document) -> list[Change]:
    """Every row that both documents have, held against its earlier self.

    Args:
        before: The earlier document.
        after: The present one.

    Returns:
        A change for each comparable quantity. Rows are the same when artifact (by file name),
        device, threads, batch and what the runtime used are.

    Raises:
        InputError: The documents have no row in common.
    """
    known = {_key(row): row for row in before["rows"]}
    pairs = [(known[_key(row)], row) for row in after["rows"] if _key(row) in known]
    if not pairs:
        raise InputError("the earlier benchmark measured none of these files on these devices")
    noise = max(_noise(before), _noise(after), _LEAST)
    return [change for old, new in pairs for change in _changes(old, new, noise)]


def _key(row: Document) -> tuple[Any, ...]:
    name = Path(str(row.get("path") or row["artifact"])).name
    used = (*(row.get("delegates") or ()), *(row.get("providers") or ("CPUExecutionProvider",)))
    plain = row.get("xnnpack") is False
    return name, row.get("device"), row.get("threads"), row.get("batch"), plain, used


def _noise(document: Document) -> float:
    devices = document.get("devices") or [document.get("device") or {}]
    return max((d.get("smallest_difference") or 0.0 for d in devices), default=0.0)


def _changes(old: Document, new: Document, noise: float) -> Iterator[Change]:
    name, device = str(new.get("label") or new["artifact"]), str(new.get("device") or "local")
    if old.get("timing_valid", True) and new.get("timing_valid", True):
        verdict, reason = _latency_verdict(old, new, noise)
        yield Change(name, device, "latency", old["median_ms"], new["median_ms"], verdict, reason)
    for field, quantity in (("bytes", "size"), ("arena_bytes", "arena")):
        if old.get(field) and new.get(field):
            verdict = _exact_verdict(old[field], new[field])
            yield Change(name, device, quantity, old[field], new[field], verdict, "counted")


def _latency_verdict(old: Document, new: Document, noise: float) -> tuple[str, str]:
    ratio = new["median_ms"] / old["median_ms"]
    apart = new["ci95_ms"][0] > old["ci95_ms"][1] or new["ci95_ms"][1] < old["ci95_ms"][0]
    told = f"{ratio - 1:+.1%}"
    if not apart:
        return "same", f"{told}, but the 95 % intervals overlap"
    if abs(ratio - 1) <= noise:
        return "same", f"{told}, within the noise of {noise:.1%}"
    return ("regression" if ratio > 1 else "improvement"), f"{told}, intervals apart"


def _exact_verdict(before: float, after: float) -> str:
    if after == before:
        return "same"
    return "regression" if after > 1.01 * before else "improvement" if after < before else "same"
