"""Reports of runs and benchmarks: they read run.json, or the benchmark's JSON, and nothing else.

`RENDERERS` is the table of formats: a new one is a function from named runs to text, and one line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgepress.benchmarks.gate.rows import is_benchmark
from edgepress.benchmarks.records import run_record
from edgepress.benchmarks.records.written import check_written
from edgepress.benchmarks.report.benches import as_run
from edgepress.benchmarks.report.html import render_html
from edgepress.benchmarks.report.markdown import render_markdown
from edgepress.benchmarks.report.search_page import render_search
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.files import atomic_output, check_output, read_json
from edgepress.compress.kernel.registry import Table

NamedRuns = Sequence[tuple[str, dict[str, Any]]]


def _render_json(runs: NamedRuns) -> str:
    return json.dumps(dict(runs), indent=2) + "\n"


RENDERERS: Table[Callable[[NamedRuns], str]] = Table(
    "report format",
    {
        ".html": render_html,
        ".md": render_markdown,
        ".json": _render_json,
    },
    entry_point_group="edgepress.reports",
)


def report(runs: Sequence[Path | str], output: Path | str, force: bool = True) -> Path:
    """Write the report of one or more runs.

    Args:
        runs: RUN folders or their run.json files, and JSON files that `benchmark` wrote; or one
            folder of a search or fit, or its search.json or fit.json.
        output: The file; its ending says the format (`.html`, `.md`, `.json`).
        force: Whether an existing file is replaced.

    Returns:
        The file.

    Raises:
        InputError: A run isn't one, the format is unknown, or the output can't be written.
    """
    target = check_output(Path(output), force)
    render = RENDERERS[target.suffix.lower()]
    if not runs:
        raise InputError("there is no run to report on", "name at least one RUN folder")
    alone = _search(Path(runs[0]), target.suffix.lower()) if len(runs) == 1 else None
    text = alone or render(_named(_runs(runs, target)))
    with atomic_output(target, force=force) as temporary:
        temporary.write_text(text, "utf-8", "backslashreplace")
    return target


def _runs(runs: Sequence[Path | str], target: Path) -> list[tuple[Path, dict[str, Any]]]:
    read = [_read(Path(run)) for run in runs]
    if target.suffix.lower() != ".html":
        return read
    return [(path, _linked(path, document, target)) for path, document in read]


def _linked(path: Path, document: dict[str, Any], target: Path) -> dict[str, Any]:
    """A run with the way from its page to its folder, by which the page links its files."""
    if not path.is_dir():
        return document
    base = quote(Path(os.path.relpath(path, target.absolute().parent)).as_posix())
    return {**document, "report_base": "" if base == "." else f"{base}/"}


def _search(path: Path, suffix: str) -> str | None:
    """The report of a search or fit by its folder or record; None for anything else."""
    places = [path / name for name in ("search.json", "fit.json")] if path.is_dir() else [path]
    file = next((place for place in places if place.is_file()), None)
    return None if file is None else render_search(file, read_json(file), suffix)


def _read(path: Path) -> tuple[Path, dict[str, Any]]:
    """A run or a benchmark, and the path that it is called by."""
    file = path / "run.json" if path.is_dir() else path
    if not path.exists():
        raise InputError(f"'{path}' does not exist", "name RUN folders, or files of `benchmark -o`")
    if not file.is_file():
        raise InputError(f"'{path}' is not a RUN folder", "it must hold a run.json")
    document = read_json(file)
    if is_benchmark(document):
        check_written(document, f"'{file}'")
        return file.absolute(), dict(as_run(document))
    if not isinstance(document, dict) or not isinstance(document.get("stages"), list):
        raise InputError(
            f"'{file}' is not the record of a run, nor a benchmark",
            "give RUN folders, what `benchmark -o` wrote, or one search alone",
        )
    run_record(document, f"'{file}'")  # refused here, with its name, where it can't be read
    return file.absolute().parent if file.name == "run.json" else file.absolute(), document


def _named(runs: list[tuple[Path, dict[str, Any]]]) -> NamedRuns:
    """Runs under the names of their folders or files, with their parents' where these are equal."""
    names = [path.name for path, _ in runs]
    if len(set(names)) < len(names):
        names = [str(path) for path, _ in runs]
    return [(name, run) for name, (_, run) in zip(names, runs, strict=True)]
