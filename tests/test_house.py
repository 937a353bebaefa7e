"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    p for folder in ("compress", "benchmarks", "deploy") for p in (ROOT / folder).rglob("*.py")
)
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
TESTS = sorted((ROOT / "tests").rglob("*.py"))


@cache
def definitions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file, parsed once."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and number of lines, docstring left out, of every function."""
    for node in definitions(path):
        body = node.body[1:] if ast.get_docstring(node) else node.body
        first = body[0].lineno if body else node.lineno
        yield node.name, (node.end_lineno or first) - first + 1


def test_files_stay_small() -> None:
    counts = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for path in [*SOURCES, *TESTS]
    }
    assert {name: lines for name, lines in counts.items() if lines > 400} == {}


def test_functions_stay_small() -> None:
    counts = [
        (f"{path.relative_to(ROOT)}: {name}", lines)
        for path in [*SOURCES, *TESTS]
        for name, lines in functions(path)
    ]
    assert len(counts) > 4000
    assert [pair for pair in counts if pair[1] > 60] == []


def test_most_functions_are_very_small() -> None:
    lengths = sorted(lines for path in SOURCES for _, lines in functions(path))
    assert lengths[len(lengths) // 2] < 12
    assert lengths[len(lengths) * 9 // 10] <= 35


def annotations(path: Path) -> Iterator[tuple[str, ast.expr]]:
    """Whether an annotation is an argument's or a result's, and the annotation."""
    for node in definitions(path):
        given = node.args
        found = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        yield from (("argument", a.annotation) for a in found if a and a.annotation)
        if node.returns is not None:
            yield "result", node.returns


def test_what_is_known_of_a_value_is_written_down() -> None:
    found = [pair for path in SOURCES for pair in annotations(path)]
    for side, most in (("argument", 0.055), ("result", 0.04)):
        kinds = [kind for of, kind in found if of == side]
        assert len(kinds) > 4000
        unknown = [kind for kind in kinds if isinstance(kind, ast.Name) and kind.id == "Any"]
        assert len(unknown) / len(kinds) <= most


def test_no_module_without_an_owner() -> None:
    banned = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}
    assert [p for p in SOURCES if p.stem in banned] == []


def test_every_package_is_listed_for_the_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    listed = set(settings["tool"]["setuptools"]["packages"])
    folders = {p.parent.relative_to(ROOT) for p in SOURCES if p.name == "__init__.py"}
    there = {"edgepress." + ".".join(f.parts) for f in folders if "studies" not in f.parts}
    assert listed == {"edgepress", *there}
    loose = {p.parent for p in SOURCES if "studies" not in p.parts} - {ROOT / f for f in folders}
    assert loose == set()


def test_the_architecture_names_every_folder() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    shipped = [p for p in SOURCES if "studies" not in p.parts]
    folders = {p.parent.name for p in shipped if p.name == "__init__.py"}
    assert {name for name in folders if not re.search(rf"\b{name}\b", text)} == set()


def test_every_entry_point_group_is_named_for_contributors() -> None:
    texts = [path.read_text("utf-8") for path in SOURCES]
    tables = [text for text in texts if re.search(r"\bTable\[", text)]
    groups = {g for text in tables for g in re.findall(r"\"(edgepress\.[a-z_]+)\"", text)}
    named = re.findall(r"^\| `(edgepress\.\w+)` \| `(.+)` \|$", CONTRIBUTING, re.M)
    assert len(groups) > 10
    assert {group for group, _ in named} == groups
    assert [path for group, path in named if group not in (ROOT / path).read_text("utf-8")] == []


def import_graph() -> ModuleType:
    """The script behind `scripts/imports`."""
    spec = importlib.util.spec_from_file_location("import_graph", ROOT / "scripts/import_graph.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_no_folder_holds_more_modules_than_one_can_survey() -> None:
    counts = import_graph().modules_in({p.parent for p in SOURCES})
    assert {folder: n for folder, n in counts.items() if n > 12} == {}


@cache
def import_edges() -> dict[str, frozenset[str]]:
    """What every module imports."""
    edges: dict[str, frozenset[str]] = import_graph().import_edges()
    return edges


def test_nothing_imports_in_a_circle() -> None:
    graph, edges = import_graph(), import_edges()
    # Found at all: a wrong root would hold no circle either.
    assert len(edges) >= len([p for p in SOURCES if p.name != "__main__.py"])
    assert {p: graph.draw(p, edges).circles for p in graph.PACKAGES} == dict.fromkeys(
        graph.PACKAGES, ()
    )


def test_a_circle_is_found_between_modules_and_between_folders() -> None:
    graph = import_graph()
    flat = {
        "edgepress.deploy.a": {"edgepress.deploy.b"},
        "edgepress.deploy.b": {"edgepress.deploy.a"},
    }
    assert graph.draw("deploy", flat).circles == (("edgepress.deploy.a", "edgepress.deploy.b"),)
    rooms = {
        "edgepress.deploy.a": set[str](),
        "edgepress.deploy.a.one": {"edgepress.deploy.b.one"},
        "edgepress.deploy.a.two": set(),
        "edgepress.deploy.b": set(),
        "edgepress.deploy.b.one": set(),
        "edgepress.deploy.b.two": {"edgepress.deploy.a.two"},
    }
    assert graph.draw("deploy", rooms).circles == (("edgepress.deploy.a", "edgepress.deploy.b"),)


def test_nothing_but_a_study_imports_a_study() -> None:
    edges = import_edges()
    studies = "edgepress.benchmarks.studies"
    wrong = [
        module
        for module, to in edges.items()
        if not module.startswith(studies) and any(n.startswith(studies) for n in to)
    ]
    assert wrong == []
