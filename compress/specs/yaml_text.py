"""Reading YAML that a person wrote: bounded, and without anything lost on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import check_regular, reading, reason

# A recipe is some dozens of lines. What an alias repeats counts as often as it is repeated.
_MOST_BYTES = 1_000_000
_NODE_CHARACTERS, _MOST_CHARACTERS = 20, 2_000_000
# Python reads any number of hexadecimal digits, and then refuses to show it.
_INTEGER, _MOST_DIGITS = "tag:yaml.org,2002:int", 100


def read_yaml(path: Path, what: str) -> tuple[Any, yaml.Node | None]:
    """The values in a YAML file, and the tree that has their lines.

    Args:
        path: The file.
        what: What it is, for the errors, such as "recipe".

    Raises:
        InputError: It is missing, isn't YAML, says a thing twice or is far too large.
    """
    with reading(f"{what} '{path}'"):
        try:
            return _parsed(path, what)
        except InputError:
            raise
        except FileNotFoundError:
            raise InputError(f"{what} '{path}' does not exist") from None
        except IsADirectoryError:
            raise InputError(f"{what} '{path}' is a folder") from None
        except yaml.YAMLError as error:
            shown = " ".join(str(error).split())[:300]
            raise InputError(f"{what} '{path}' is not YAML: {shown}") from error
        except (ValueError, OverflowError, RecursionError) as error:
            raise InputError(f"{what} '{path}' is not YAML: {reason(error)}") from error


def _parsed(path: Path, what: str) -> tuple[Any, yaml.Node | None]:
    check_regular(path)
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{what} '{path}' is larger than 1 MB", "is it the right file?")
    text = path.read_text("utf-8")
    tree = yaml.compose(text, Loader=yaml.SafeLoader)
    if tree is not None:
        _check(tree, path, what)
    return yaml.safe_load(text), tree


def _check(tree: yaml.Node, path: Path, what: str) -> None:
    sizes: dict[int, int] = {}
    if _size(tree, sizes, path, what) > _MOST_CHARACTERS:
        raise InputError(f"{what} '{path}' expands to too much: its aliases repeat one another")


def _size(node: yaml.Node, sizes: dict[int, int], path: Path, what: str) -> int:
    """How long a node is, in characters, aliases spelled out; 0 marks one that is being counted."""
    if id(node) in sizes:
        if sizes[id(node)] == 0:
            raise InputError(f"{what} '{path}' has an alias that holds itself")
        return sizes[id(node)]
    sizes[id(node)] = 0
    _check_scalar(node, path)
    size = _NODE_CHARACTERS + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0)
    if isinstance(node, yaml.MappingNode):
        known: set[str] = set()
        for key, value in node.value:
            _check_scalar(key, path)
            name = str(key.value)
            if name in known and name != "<<":
                line = key.start_mark.line + 1
                raise InputError(
                    f"{path}:{line}: '{name}' appears twice, and only the last would count",
                    "several steps of one kind are a list: each with a dash before it",
                )
            known.add(name)
            size += len(name) + _size(value, sizes, path, what)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_size(item, sizes, path, what) for item in node.value)
    sizes[id(node)] = size
    return size


def _check_scalar(node: yaml.Node, path: Path) -> None:
    if node.tag == _INTEGER and len(node.value) > _MOST_DIGITS:
        raise InputError(
            f"{path}:{node.start_mark.line + 1}: a number of {len(node.value):,} digits",
            "put a text in quotes",
        )
    if isinstance(node.value, str):
        try:
            node.value.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{path}:{node.start_mark.line + 1}: {error.object[error.start]!a} is half a"
                " character, which no file or name can hold",
                "write the character itself",
            ) from None
