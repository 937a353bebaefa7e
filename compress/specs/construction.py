"""From options by name to a checked spec, with errors that name the option."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from annotated_types import Ge, Le
from pydantic import BaseModel, ValidationError

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import reason
from edgepress.compress.kernel.registry import near_names
from edgepress.compress.specs.descriptions import fields_of as fields_of
from edgepress.compress.specs.notation import FORMS
from edgepress.compress.specs.training import Spec

S = TypeVar("S", bound=BaseModel)
# Characters of an impossible value that its error repeats.
_MOST_SHOWN = 80


def make_spec(
    kind: type[S],
    options: Mapping[str, Any],
    where: str = "",
    names: Mapping[str, str] | None = None,
    base: S | None = None,
) -> S:
    """A spec of a kind from options by field name.

    Args:
        kind: The spec's class.
        options: Values by field; text is read as the command line would.
        where: Put before each problem, as a file's name.
        names: How people write the options, by field, where they write them on a command line.
        base: A spec that the options change; its own values hold for what isn't among them.

    Returns:
        The spec.

    Raises:
        InputError: An option is unknown or its value impossible; names the first one.
    """
    kept = base.given() if isinstance(base, Spec) else {}
    flags: Mapping[str, str] = getattr(kind, "flags", {})
    try:
        return kind(**{**kept, **options})
    except ValidationError as error:
        problem = error.errors()[0]
        named = names or {field: "--" + flag for field, flag in flags.items()} or None
        raise InputError(where + explain(problem, named), hint(problem, kind)) from None
    except UnicodeError as error:  # pydantic can't take half a character
        raise InputError(f"{where}an option can't be read: {reason(error)}") from error


def explain(problem: Mapping[str, Any], names: Mapping[str, str] | None = None) -> str:
    """One problem that pydantic found as a sentence that names the option.

    Args:
        problem: What pydantic tells.
        names: As for `make_spec`.
    """
    place = ".".join(str(p) for p in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    form = FORMS.get(problem.get("ctx", {}).get("pattern", ""))
    if problem["type"] == "string_pattern_mismatch" and form is not None:
        message = f"write {form}"
    if problem["type"] == "extra_forbidden":
        return f"unknown option '{place}'"
    if problem["type"] == "missing":
        return f"'{place}' is missing"
    if not place:
        return message[:1].lower() + message[1:]
    if isinstance(problem.get("input"), dict) and problem["type"] == "value_error":
        return f"{place}: {message[:1].lower()}{message[1:]}"  # a rule of the whole part
    option = place if "." in place else "--" + place.replace("_", "-")
    if names is not None:
        first = str(problem["loc"][0])
        option = names.get(first, "--" + first.replace("_", "-"))
    shown = str(problem.get("input"))
    shown = shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}…"
    return f"{option} {shown}: {message[:1].lower()}{message[1:]}"


def hint(problem: Mapping[str, Any], kind: type[BaseModel]) -> str:
    """Near names for an unknown option; for a number out of range, the range."""
    if len(problem["loc"]) != 1:
        return ""
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return near_names(name, fields_of(kind))
    if problem["type"] in ("greater_than_equal", "less_than_equal"):
        limits = fields_of(kind)[name].metadata
        low = next((limit.ge for limit in limits if isinstance(limit, Ge)), None)
        high = next((limit.le for limit in limits if isinstance(limit, Le)), None)
        if low is not None and high is not None:
            return f"write {low} to {high}"
    return ""
