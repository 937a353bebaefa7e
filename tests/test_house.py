"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    p for folder in ("compress", "benchmarks", "deploy") for p in (ROOT / folder).rglob("*.py")
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and number of lines, docstring left out, of every function."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            first = body[0].lineno if body else node.lineno
            yield node.name, (node.end_lineno or first) - first + 1


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 400
    assert [f"{name}: {lines}" for name, lines in functions(path) if lines > 60] == []


def test_most_functions_are_very_small() -> None:
    lengths = sorted(lines for path in SOURCES for _, lines in functions(path))
    assert lengths[len(lengths) // 2] < 12
    assert lengths[len(lengths) * 9 // 10] <= 35


def test_no_module_without_an_owner() -> None:
    banned = {"utils", "util", "common", "helpers", "manager", "misc"}
    assert [p for p in SOURCES if p.stem in banned] == []


def test_every_package_is_listed_for_the_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    listed = set(settings["tool"]["setuptools"]["packages"])
    folders = {p.parent.relative_to(ROOT) for p in SOURCES if p.name == "__init__.py"}
    there = {"edgepress." + ".".join(f.parts) for f in folders if "studies" not in f.parts}
    assert listed == there
    loose = {p.parent for p in SOURCES if "studies" not in p.parts} - {ROOT / f for f in folders}
    assert loose == set()
