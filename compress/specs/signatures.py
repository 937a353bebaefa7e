"""Functions that take the fields of a specification as keywords show them, each with its meaning.

`help`, `inspect.signature` and interactive completion read what is put here; the specification
itself remains the only place that an option is declared in.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter
from typing import Any, TypeVar

from pydantic.fields import FieldInfo

from edgepress.compress.specs.descriptions import field_helps, fields_of, plain_type

F = TypeVar("F", bound=Callable[..., Any])

_WIDTH = 96


def takes_options(
    kind: Any, skip: Iterable[str] = (), defaults: Mapping[str, Any] | None = None
) -> Callable[[F], F]:
    """Spell out a function's `**options` as the fields of a specification.

    Its signature gets a keyword for each field, and its docstring an entry under Args. A parameter
    of the function that is named like a field keeps its place and, where its docstring explains it,
    its type; a default of None stands for the field's.

    Args:
        kind: The specification's class, or a union of several.
        skip: Fields that the function doesn't take.
        defaults: Defaults that differ from the specification's, by field.
    """
    left_out = set(skip)

    def decorate(function: F) -> F:
        fields = {name: f for name, f in fields_of(kind).items() if name not in left_out}
        text = inspect.cleandoc(function.__doc__ or "")
        explained = _explained(text)
        shown = _signature(inspect.signature(function), fields, explained, dict(defaults or {}))
        function.__signature__ = shown  # type: ignore[attr-defined]
        function.__doc__ = _documented(text, kind, [n for n in fields if n not in explained])
        return function

    return decorate


def _signature(
    own: inspect.Signature,
    fields: Mapping[str, FieldInfo],
    explained: set[str],
    defaults: Mapping[str, Any],
) -> inspect.Signature:
    parameters: list[Parameter] = []
    for parameter in own.parameters.values():
        if parameter.kind is Parameter.VAR_KEYWORD:
            continue
        field = fields.get(parameter.name)
        if field is not None and parameter.default is None:
            shown = _as_field(parameter, field, defaults)
            kept = parameter.annotation if parameter.name in explained else shown.annotation
            parameter = shown.replace(annotation=kept)
        parameters.append(parameter)
    for name, field in fields.items():
        if name not in own.parameters:
            keyword = Parameter(name, Parameter.KEYWORD_ONLY)
            parameters.append(_as_field(keyword, field, defaults))
    return own.replace(parameters=parameters)


def _as_field(parameter: Parameter, field: FieldInfo, defaults: Mapping[str, Any]) -> Parameter:
    default = field.get_default(call_default_factory=True)
    return parameter.replace(
        annotation=plain_type(field.annotation), default=defaults.get(parameter.name, default)
    )


def _explained(text: str) -> set[str]:
    """The arguments that a docstring has an entry for."""
    return set(re.findall(r"^    (\w+): ", text.partition("Args:\n")[2], re.M))


def _documented(text: str, kind: Any, names: Iterable[str]) -> str:
    """A docstring whose `**options:` entry gives way to one for each of these fields."""
    before, mark, after = text.partition("    **options:")
    if not mark:
        return text
    helps = field_helps(kind)
    entries = [
        textwrap.fill(
            f"{name}: {helps.get(name, '')}".rstrip(),
            _WIDTH,
            initial_indent=" " * 4,
            subsequent_indent=" " * 8,
        )
        for name in names
    ]
    rest = after.partition("\n\n")[2]
    return before + "\n".join(entries) + ("\n\n" + rest if rest else "")
