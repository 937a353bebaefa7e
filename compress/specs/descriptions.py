"""What each field of a specification means, told once: in the docstring of its class."""

from __future__ import annotations

import re
import types
import typing
from functools import reduce
from operator import or_
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_FIELD = re.compile(r"^    (\w+): (.+?)(?=^    \w+: |\Z)", re.S | re.M)


def docstring_helps(kind: type[BaseModel]) -> dict[str, str]:
    """The meaning of each field: what the class's docstring says of it, bases included."""
    helps: dict[str, str] = {}
    for base in reversed(kind.__mro__[: kind.__mro__.index(BaseModel)]):
        _, _, attributes = (base.__doc__ or "").partition("Attributes:\n")
        unindented = "\n".join(line.removeprefix("    ") for line in attributes.splitlines())
        for name, words in _FIELD.findall(unindented + "\n"):
            helps[name] = " ".join(words.split())
    return helps


def field_helps(kind: Any) -> dict[str, str]:
    """The meaning of each option of a specification, or of all members of a union.

    Args:
        kind: Its class, or the union.
    """
    helps: dict[str, str] = {}
    for one in kinds_of(kind):
        helps |= one.option_helps()
    return helps


def fields_of(kind: Any) -> dict[str, FieldInfo]:
    """The options of a specification, or of all members of a union, each name once.

    Args:
        kind: Its class, or the union.
    """
    found: dict[str, FieldInfo] = {}
    for one in kinds_of(kind):
        found |= {n: field for n, field in one.option_fields().items() if n not in found}
    return found


def kinds_of(kind: Any) -> tuple[Any, ...]:
    """The specifications of a union; a class is a union of itself."""
    if hasattr(kind, "option_fields"):
        return (kind,)
    members = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Annotated:
        members = members[:1]
    return tuple(one for member in members for one in kinds_of(member))


def describe(schema: dict[str, Any], kind: type[BaseModel]) -> None:
    """Put the meaning of each field into a class's JSON schema, and its summary above them."""
    helps = docstring_helps(kind)
    for name, entry in schema.get("properties", {}).items():
        if name in helps:
            entry["description"] = helps[name]
        entry.pop("title", None)
    schema["description"] = " ".join((kind.__doc__ or "").partition("\n\n")[0].split())


def plain_type(annotation: Any) -> Any:
    """A type as people read it: without the constraints and readers that `Annotated` adds."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return plain_type(parts[0])
    if origin in (typing.Union, types.UnionType):
        return reduce(or_, [plain_type(part) for part in parts])
    if origin in (tuple, list, dict):
        return origin[tuple(p if p is Ellipsis else plain_type(p) for p in parts)]
    return annotation
