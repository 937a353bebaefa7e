"""What each field of a specification means, told once: in the docstring of its class."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_FIELD = re.compile(r"^    (\w+): (.+?)(?=^    \w+: |\Z)", re.S | re.M)


def field_helps(kind: Any) -> dict[str, str]:
    """The meaning of each field: what the class's docstring says of it, bases included.

    Args:
        kind: A specification's class, or a union of several.
    """
    helps: dict[str, str] = {}
    for one in kinds_of(kind):
        for base in reversed(one.__mro__[: one.__mro__.index(BaseModel)]):
            text = base.__doc__ or ""
            _, _, attributes = text.partition("Attributes:\n")
            unindented = "\n".join(line.removeprefix("    ") for line in attributes.splitlines())
            for name, words in _FIELD.findall(unindented + "\n"):
                helps[name] = " ".join(words.split())
    return helps


def fields_of(kind: Any) -> dict[str, FieldInfo]:
    """The fields of a specification, or of all members of a union, each name once."""
    found: dict[str, FieldInfo] = {}
    for one in kinds_of(kind):
        for name, field in one.model_fields.items():
            found.setdefault(name, field)
    return found


def kinds_of(kind: Any) -> tuple[type[BaseModel], ...]:
    """The classes of a union of specifications; one class is a union of itself."""
    if isinstance(kind, type) and typing.get_origin(kind) is None:
        return (kind,) if issubclass(kind, BaseModel) else ()
    if typing.get_origin(kind) is typing.Annotated:
        return kinds_of(typing.get_args(kind)[0])
    return tuple(one for member in typing.get_args(kind) for one in kinds_of(member))


def described(schema: dict[str, Any], kind: type[BaseModel]) -> dict[str, Any]:
    """A class's JSON schema with the meaning of each field, its own summary alone above them.

    Args:
        schema: As pydantic makes it; its properties are changed in place.
        kind: The class.
    """
    helps = field_helps(kind)
    properties: Mapping[str, dict[str, Any]] = schema.get("properties", {})
    for name, entry in properties.items():
        if name in helps:
            entry["description"] = helps[name]
        entry.pop("title", None)
    summary = (kind.__doc__ or "").partition("\n\n")[0]
    return {**schema, "description": " ".join(summary.split())}


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
