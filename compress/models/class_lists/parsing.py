"""Names of classes in the texts that people and tools write them into."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence

# A number before a name, as Teachable Machine writes it; a name may begin with digits of its own.
_NUMBERED = re.compile(r"(\d+)[\s:,]+(?=\S)")
_MOST_CHARACTERS = 1_000_000


def of_lines(text: str) -> tuple[str, ...]:
    """The names in a text, a line each; numbers before all of them are left out.

    >>> of_lines("0 cat\\n1 dog\\n")
    ('cat', 'dog')
    >>> of_lines("2 cycles\\n4 cycles\\n")
    ('2 cycles', '4 cycles')
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = [_NUMBERED.match(line) for line in lines]
    numbers = [int(match[1]) for match in found if match]
    if len(numbers) == len(lines) and numbers in (
        list(range(len(lines))),
        list(range(1, len(lines) + 1)),
    ):
        return tuple(_NUMBERED.sub("", line, count=1) for line in lines)
    return tuple(lines)


def of_json(text: str) -> tuple[str, ...]:
    """The names in a JSON document; none where it holds something else."""
    try:
        return of_value(json.loads(text))
    except (ValueError, RecursionError):
        return ()


def of_text(text: str) -> tuple[str, ...]:
    """The names in a text of any of the forms in which metadata holds them.

    >>> of_text("{0: 'person', 1: 'car'}"), of_text('["a", "b"]'), of_text("a,b"), of_text("a\\nb")
    (('person', 'car'), ('a', 'b'), ('a', 'b'), ('a', 'b'))
    """
    text = text.strip()
    if len(text) > _MOST_CHARACTERS:
        return ()
    if text[:1] in ("{", "[", "("):
        try:
            return of_json(text) or of_value(ast.literal_eval(text))
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return ()
    if "\n" in text:
        return of_lines(text)
    return tuple(part.strip() for part in re.split("[,;]", text) if part.strip())


def of_value(value: object) -> tuple[str, ...]:
    """The names that a value lists: a sequence of them, names by number, or numbers by name."""
    if isinstance(value, Mapping):
        pairs = {str(key): inner for key, inner in value.items()}
        if pairs and all(type(number) is int for number in pairs.values()):  # numbers by name
            pairs = {str(number): name for name, number in pairs.items()}
        if len(pairs) != len(value) or not all(key.isdecimal() for key in pairs):
            return ()
        by_number = {int(key): inner for key, inner in pairs.items()}
        first = min(by_number, default=0)
        if first > 1 or sorted(by_number) != list(range(first, first + len(pairs))):
            return ()
        value = [by_number[number] for number in sorted(by_number)]
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return ()
    return tuple(value) if all(isinstance(name, str) and name for name in value) else ()
