"""Names of a package that load on first use, so that importing the package costs nothing."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def lazy_names(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package whose names load on first use.

    The names are written once: those that the package's `__init__` imports under
    `if TYPE_CHECKING:`, where editors and type checkers find them too.

    Args:
        package: The package's full name.
    """
    homes = _type_checking_imports(Path(str(sys.modules[package].__file__)))

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(import_module(homes[name]), name)

    return load, lambda: sorted(homes), sorted(homes)


def _type_checking_imports(file: Path) -> dict[str, str]:
    """The module of each name that a file imports for type checkers alone."""
    blocks = [
        node
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    return {
        alias.name: str(line.module)
        for block in blocks
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for alias in line.names
    }
