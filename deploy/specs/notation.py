"""Lists and counts as people write them on the command line and in recipes."""

from __future__ import annotations

import os
import re
from numbers import Integral
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from edgepress.compress.specs.notation import parse_size


def split_list(text: str) -> tuple[str, ...]:
    """The parts of `tflite,onnx`."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_list(value: object) -> object:
    """Read `tflite,onnx` as a list; texts inside a list may hold commas too."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(t, str) for t in texts):
        return value
    return tuple(part for text in texts for part in split_list(text))


def parse_batch(value: object) -> object:
    """Read a number as one; `auto` and `dynamic` stay text."""
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    return one_or_more(number)


def parse_counts(value: object) -> object:
    """Read `1,2` or a number as numbers, nothing as none."""
    if value is None:
        return ()
    if isinstance(value, Integral):
        return (value,)
    if isinstance(value, str):
        return split_list(value)
    return value


def parse_cores(value: object) -> object:
    """Read `0,2-3` as the cores 0, 2 and 3."""
    if not isinstance(value, str):
        return parse_counts(value)
    found: list[Any] = []
    for part in value.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", part)
        rising = match and int(match[1]) <= int(match[2])
        found += range(int(match[1]), int(match[2]) + 1) if match and rising else [part.strip()]
    return tuple(found)


def parse_path(value: object) -> object:
    """Read a path as its text."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def one_or_more(value: object) -> object:
    """Refuse a number below 1."""
    if isinstance(value, Integral) and int(value) < 1:
        raise ValueError("must be 1 or more")
    return value


def core_number(value: object) -> object:
    """Refuse a core that can't be."""
    if isinstance(value, Integral) and int(value) < 0:
        raise ValueError("cores are numbered from 0")
    return value


Sizes = Annotated[
    tuple[int, ...], BeforeValidator(parse_size, json_schema_input_type=tuple[int, ...] | str)
]
Count = Annotated[int, Field(ge=1), BeforeValidator(one_or_more)]
Counts = Annotated[
    tuple[Count, ...],
    BeforeValidator(parse_counts, json_schema_input_type=tuple[Count, ...] | Count | str | None),
]
Core = Annotated[int, Field(ge=0), BeforeValidator(core_number)]
Cores = Annotated[
    tuple[Core, ...],
    BeforeValidator(parse_cores, json_schema_input_type=tuple[Core, ...] | Core | str | None),
]
Words = Annotated[
    tuple[str, ...], BeforeValidator(parse_list, json_schema_input_type=tuple[str, ...] | str)
]
List = Annotated[Words, Field(min_length=1)]
PathText = Annotated[str, BeforeValidator(parse_path)]
