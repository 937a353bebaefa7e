"""Mutators: of bytes, and of values as JSON and YAML have them."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

_ODD_BYTES = st.sampled_from([b"\x00", b"\xff", b"\xff\xfe", b"\n", b"{", b"]", b"\x7f" * 8, b""])
_ODD_NAMES = (
    "",
    "é",
    "\ud800",
    "a" * 300,
    "../x",
    "/dev/null",
    "nan",
    "\x00",
    "a\nb",
    "[red]",
    "%s",
)
ODD_VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, True, False, 0, -1, 1, 0.5, 1e300, -0.0, 2**31, 2**63, 2**70, -(2**65)]),
    st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    st.sampled_from(_ODD_NAMES),
    # Later edits change what an earlier one put in.
    st.sampled_from([[], {}, [[]], {"": {}}, [None], {"a": 1}, [1, "a", None, {}]]).map(
        copy.deepcopy
    ),
)


@st.composite
def mutated(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes with some changed, cut out, put in or repeated."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.sampled_from([1, 1, 2, 8, 64, 1000]))
        stop = min(len(content), start + length)
        how = draw(st.sampled_from(["change", "change", "flip", "cut", "end", "put", "repeat"]))
        part = content[start:stop]
        if how == "change":
            new = (
                draw(st.binary(min_size=len(part), max_size=min(len(part), 16) or 1))[: len(part)]
                if len(part) <= 16
                else bytes(255 - b for b in part)
            )
        elif how == "flip":
            new = bytes(b ^ (1 << draw(st.integers(0, 7))) for b in part[:1]) + part[1:]
        elif how == "put":
            new = draw(_ODD_BYTES) + part
        else:
            new = {"cut": b"", "end": b"", "repeat": part * 3}[how]
        content = content[:start] + new + (b"" if how == "end" else content[stop:])
    return content


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a document has values, the inner ones behind the outer."""
    found = [place]
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        if len(found) < 3000:
            found += _places(inner, (*place, key))
    return found


@st.composite
def edited(draw: st.DrawFn, document: Any) -> Any:
    """A document in which a hand changed some values, left some out or added some."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(_places(changed)))
        if not place:
            if draw(st.integers(0, 20)) == 0:
                changed = draw(ODD_VALUES)
            continue
        holder = changed
        for step in place[:-1]:
            holder = holder[step]
        how = draw(st.sampled_from(["set", "set", "set", "delete", "add", "wrap"]))
        if how == "delete":
            del holder[place[-1]]
        elif how == "wrap":
            holder[place[-1]] = [holder[place[-1]]]
        elif how == "add" and isinstance(holder, dict):
            holder[draw(st.sampled_from(_ODD_NAMES))] = draw(ODD_VALUES)
        else:
            holder[place[-1]] = draw(ODD_VALUES)
    return changed


def deep(depth: int, form: str) -> bytes:
    """A document that is nested so deep."""
    return {
        "list": b"[" * depth + b"]" * depth,
        "open": b"[" * depth,
        "map": b'{"a":' * depth + b"1" + b"}" * depth,
        "number": b"9" * depth,
        "in a list": b"[" + b"9" * depth + b"]",
    }[form]


DEEP = st.builds(
    deep,
    st.sampled_from([50, 900, 5000, 20000]),
    st.sampled_from(["list", "open", "map", "number", "in a list"]),
)


def json_bytes(value: Any) -> bytes:
    """A value as indented JSON, NaN and all."""
    return json.dumps(value, indent=1).encode()
