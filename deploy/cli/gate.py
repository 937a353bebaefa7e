"""`benchmark --against`: what a result is held against, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepress.benchmarks.gate.change import Change
from edgepress.benchmarks.gate.comparison import GateResult, compare_documents
from edgepress.benchmarks.gate.identity import document_keys, pair_files
from edgepress.benchmarks.gate.tolerances import Tolerances
from edgepress.benchmarks.history import Earlier, find_earlier, is_history
from edgepress.benchmarks.number_format import counted
from edgepress.compress.errors import InputError
from edgepress.deploy.cli.display import echo
from edgepress.deploy.cli.options import Values, given, spec_from

_NOTHING = "nothing to compare with yet"


def names_of(values: Values) -> tuple[str, ...]:
    """The name of each artifact, in their order; empty texts for those without.

    `--name NAME` names them in their order, `--name FILE=NAME` one of them.

    Raises:
        InputError: The names don't fit the files.
    """
    from edgepress.deploy.benchmarking.benchmark import check_names

    words: Sequence[str] = values["name"]
    files = [str(path) for path in values["artifacts"]]
    renamed = dict(word.rsplit("=", 1) for word in words if "=" in word)
    by_file = {Path(file): name for file, name in renamed.items() if Path(file) in map(Path, files)}
    names = words
    if by_file and len(renamed) == len(by_file) == len(words):
        names = [by_file.get(Path(file), "") for file in files]
    elif by_file:
        raise InputError("some files are named by FILE=NAME, others not", "choose one way")
    if any(not word.strip() for word in words):
        raise InputError("--name is empty")
    check_names(names, len(files))
    return tuple(names)


@dataclass(frozen=True)
class Gate:
    """What a result is held against.

    Attributes:
        earlier: The earlier result; None where a history has nothing to compare with yet.
        source: What the user named.
        own_history: Whether that is the history which the result goes into: what it doesn't hold
            yet is compared from the next run on.
        tolerances: What counts as the same.
    """

    earlier: Earlier | None
    source: str
    own_history: bool
    tolerances: Tolerances

    def hold(self, document: dict[str, Any]) -> GateResult:
        """Hold a result against the earlier one, and write what was found into it.

        Raises:
            InputError: The two have no row in common.
        """
        found = GateResult((), (f"{_NOTHING}: '{self.source}' has no such run",))
        if self.earlier is not None:
            found = compare_documents(self.earlier.document, document, self.tolerances)
            if not found.changes and not self.own_history:
                raise InputError(
                    f"{self.earlier.source} measured none of these files on these devices"
                )
            if not found.changes:
                found = GateResult((), (f"{_NOTHING} in '{self.source}'", *found.notes))
        document["against"] = {
            "source": self.source,
            "run": self.earlier.source if self.earlier else None,
            "notes": list(found.notes),
            "tolerances": self.tolerances.model_dump(),
        }
        document["changes"] = [change.to_json() for change in found.changes]
        return found


def open_gate(values: Values, names: Sequence[str]) -> Gate | None:
    """Find the earlier result before any work, and refuse files that it can't tell apart.

    Raises:
        InputError: There is no such result, or its files are ambiguous.
    """
    if not values["against"]:
        return None
    tolerances = spec_from(Tolerances, given(values, Tolerances))
    source, history = values["against"], values["history"]
    today = document_keys(_asked(values, names))

    def holds(document: Mapping[str, Any]) -> bool:
        try:
            return bool(pair_files(document_keys(document), today))
        except InputError:
            return True  # told below, where the user may do something about it

    def tells_as_much(document: Mapping[str, Any]) -> bool:
        # A run without data between two with it would hide what became of the metric.
        scored = any(row.get("value") is not None for row in document["rows"])
        return holds(document) and (scored or not values["data"])

    found, own_history = find_earlier(source, history, tells_as_much), is_history(source, history)
    if found is not None and not tells_as_much(found.document):
        found = find_earlier(source, history, holds)
    if found is not None:
        old = document_keys(found.document)
        if not pair_files(old, today, found.source) and not own_history:
            held = ", ".join(f"'{key.shown}'" for key in old[:5])
            raise InputError(
                f"{found.source} measured none of these files",
                f"it holds {held}: say with --name which of them yours are",
            )
    return Gate(found, str(source), own_history, tolerances)


def _asked(values: Values, names: Sequence[str]) -> dict[str, Any]:
    """The files that will be measured, as a document tells them."""
    called = names or [""] * len(values["artifacts"])
    files = [
        {"name": name or None, "file": str(path)}
        for name, path in zip(called, values["artifacts"], strict=True)
    ]
    return {"directory": str(Path.cwd()), "files": files, "rows": []}


def say_changes(document: Mapping[str, Any]) -> None:
    """Every change in a line, with its evidence, and what has no counterpart."""
    comparison = document.get("against")
    if comparison is None:
        return
    if comparison["run"]:
        echo(f"against {comparison['run']}:")
    for fields in document["changes"]:
        change = Change(**fields)
        echo(f"{change.verdict}: {change.sentence}")
    for note in comparison["notes"]:
        echo(f"note: {note}")


def regression_message(found: GateResult) -> str:
    """All regressions in one line; empty where there are none."""
    worse = found.regressions
    if not worse:
        return ""
    return f"{counted(len(worse), 'regression')}: " + "; ".join(change.sentence for change in worse)
