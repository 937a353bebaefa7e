"""Amounts with units as people write them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

_UNITS = {"ms": 1.0, "us": 1e-3, "%": 0.01}
_BYTES = {
    "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9,
    "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30,
}  # fmt: skip
_COUNTS = {"k": 1e3, "m": 1e6, "g": 1e9}


def parse_latency(value: object) -> float | str:
    """Read a share (`0.5`, `50%`) as a number; what is above, or has a unit, as text in ms.

    Raises:
        ValueError: It is neither.
    """
    text = str(value).strip().lower()
    unit = next((u for u in _UNITS if text.endswith(u)), "")
    try:
        number = float(text.removesuffix(unit))
    except ValueError:
        number = 0.0
    amount = number * _UNITS.get(unit, 1.0)
    if not 0 < number < float("inf") or (unit == "%" and amount > 1):
        raise ValueError("write a share up to 1, such as 50%, or milliseconds, as 2.5 or 0.8ms")
    return amount if unit in ("", "%") and amount <= 1 else f"{amount:g}ms"


def parse_bytes(value: object) -> object:
    """Read `64kB` (64,000 bytes), `64KiB` (65,536), `50%` or `0.5` (a share), or a number of bytes.

    Raises:
        ValueError: It is none of them.
    """
    return _amount(value, _BYTES, "write bytes, such as 64kB or 64KiB, or a share, such as 50%")


def parse_count(value: object) -> object:
    """Read `12.5M`, `300k`, `50%` or `0.5` (a share), or a number.

    Raises:
        ValueError: It is none of them.
    """
    return _amount(value, _COUNTS, "write a number, such as 12.5M, or a share, such as 50%")


def _amount(value: object, units: dict[str, float], form: str) -> object:
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*([\d.]+(?:e[+-]?\d+)?)\s*([a-z%]*)\s*", value.lower())
    try:
        number = float(found[1]) if found else 0.0
    except ValueError:
        number = 0.0
    unit = found[2] if found else ""
    factor = {"": 1.0, "%": 0.01, **units}.get(unit)
    if factor is None or not 0 < number < float("inf"):
        raise ValueError(form)
    amount = number * factor
    if unit and (amount > 1) == (unit == "%"):
        raise ValueError(form)  # 150 % keeps nothing out, and 0.5 bytes would be a share
    return amount


def limit_of(given: float, full: float) -> float:
    """How much may stay: a number up to 1 is a share of what there is."""
    return given * full if given <= 1 else given


def latency_ms(text: str) -> float:
    """The milliseconds of a text that `parse_latency` gave."""
    return float(text.removesuffix("ms"))


def parse_duration(value: object) -> float:
    """Read `20m`, `1h30m`, `90s` or a number of seconds as seconds.

    Raises:
        ValueError: It is no time above 0.
    """
    text = str(value).strip().lower().replace(" ", "")
    parts = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m(?:in)?)?(?:([\d.]+)s?)?", text)
    try:
        hours, minutes, seconds = (
            (float(part or 0) for part in parts.groups()) if parts else (0,) * 3
        )
    except ValueError:
        hours = minutes = seconds = 0.0
    total = 3600 * hours + 60 * minutes + seconds
    if not 0 < total < float("inf"):
        raise ValueError("write a time, such as 20m, 1h30m or 90s")
    return total


# What may stay: a share up to 1, or an amount. An editor accepts what is read, too.
Bytes = (
    Annotated[float, BeforeValidator(parse_bytes, json_schema_input_type=float | str), Field(gt=0)]
    | None
)
Count = (
    Annotated[float, BeforeValidator(parse_count, json_schema_input_type=float | str), Field(gt=0)]
    | None
)
