"""Print how the packages import: rooms, arrows between them, circles, the largest folder.

A room is what lies directly in a package: a folder or a module. An arrow is one room that imports
another. Imports inside of functions and those for type checkers alone count like all others.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PACKAGES = ("compress", "benchmarks", "deploy")

Edges = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Drawing:
    """What is drawn of one package.

    Attributes:
        package: Its name.
        modules: How many modules it has, at any depth.
        rooms: What lies directly in it.
        arrows: Pairs of rooms of which the first imports the second.
        circles: Modules that import each other, and rooms of one folder that do.
        largest: The folder with the most modules, `__init__` not counted.
        size: How many these are.
    """

    package: str
    modules: int
    rooms: tuple[str, ...]
    arrows: tuple[tuple[str, str], ...]
    circles: tuple[tuple[str, ...], ...]
    largest: str
    size: int


def import_edges() -> dict[str, frozenset[str]]:
    """Every module of the three packages, with those that it imports."""
    beside = str(ROOT / "scripts" / "typing")
    if beside not in sys.path:
        sys.path.insert(0, beside)
    # Once loaded it would be found where it lies, which is not beside the three packages.
    loaded = sys.modules.pop("edgepress", None)
    try:
        graph = grimp.build_graph("edgepress", cache_dir=None)
    finally:
        if loaded is not None:
            sys.modules["edgepress"] = loaded
    return {m: frozenset(graph.find_modules_directly_imported_by(m)) for m in graph.modules}


def draw(package: str, edges: Edges) -> Drawing:
    """One package.

    Args:
        package: "compress", "benchmarks" or "deploy".
        edges: What `import_edges` gave.
    """
    root = f"edgepress.{package}"
    inside = {m: edges[m] for m in edges if m.startswith(f"{root}.")}
    containers = {root, *(m for m in inside if any(n.startswith(f"{m}.") for n in inside))}
    found = circles({m: frozenset(n for n in to if n in inside) for m, to in inside.items()})
    for container in sorted(containers):
        between = squashed(container, inside)
        found += [c for c in circles(between) if c not in found]
    top = squashed(root, inside)
    folder, size = largest_folder(package)
    return Drawing(
        package,
        len(inside),
        tuple(sorted(top)),
        tuple(sorted((a, b) for a, to in top.items() for b in to)),
        tuple(sorted(found)),
        folder,
        size,
    )


def squashed(container: str, edges: Edges) -> dict[str, frozenset[str]]:
    """What lies directly in a package, with all arrows of what lies within taken together."""
    depth = container.count(".") + 2

    def room(module: str) -> str:
        return ".".join(module.split(".")[:depth])

    inside = [m for m in edges if m.startswith(f"{container}.")]
    between: dict[str, set[str]] = {room(m): set() for m in inside}
    for module in inside:
        to = {room(n) for n in edges[module] if n.startswith(f"{container}.")}
        between[room(module)] |= to - {room(module)}
    return {name: frozenset(to) for name, to in between.items()}


def circles(edges: Edges) -> list[tuple[str, ...]]:
    """Strongly connected components of more than one member.

    Source: Tarjan (1972), Depth-first search and linear graph algorithms.
    """
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[tuple[str, ...]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in edges.get(name, ()):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            at = stack.index(name)
            members, stack[at:] = stack[at:], []
            if len(members) > 1:
                found.append(tuple(sorted(members)))

    for name in sorted(edges):
        if name not in order:
            visit(name)
    return found


def modules_in(folders: Iterable[Path]) -> dict[str, int]:
    """Modules that lie directly in each folder, `__init__` and `__main__` not counted."""
    return {
        str(folder.relative_to(ROOT)): len([p for p in folder.glob("*.py") if p.stem[:2] != "__"])
        for folder in folders
        if folder.is_dir() and folder.name != "__pycache__"
    }


def largest_folder(package: str) -> tuple[str, int]:
    """The folder of a package with the most modules, and how many these are."""
    counts = modules_in([ROOT / package, *(ROOT / package).rglob("*")])
    name = max(sorted(counts), key=counts.__getitem__)
    return name, counts[name]


def main() -> None:
    """Print all packages; with `--arrows` every arrow too."""
    edges = import_edges()
    for package in PACKAGES:
        drawn = draw(package, edges)
        print(
            f"{package}: {drawn.modules} modules, {len(drawn.rooms)} rooms, {len(drawn.arrows)}"
            f" arrows, {len(drawn.circles)} circles; largest folder {drawn.largest}"
            f" ({drawn.size} modules)"
        )
        for circle in drawn.circles:
            print("  circle: " + ", ".join(name.removeprefix("edgepress.") for name in circle))
        if "--arrows" in sys.argv[1:]:
            for room in drawn.rooms:
                to = [b.rpartition(".")[2] for a, b in drawn.arrows if a == room]
                print(f"  {room.rpartition('.')[2]} -> {' '.join(to) or '-'}")


if __name__ == "__main__":
    main()
