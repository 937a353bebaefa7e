"""Amounts with units as people write them."""

from __future__ import annotations

import re

_UNITS = {"ms": 1.0, "us": 1e-3}


def parse_latency(value: object) -> float | str:
    """Read a share up to 1 as a number; what is above, or has a unit, as text with the unit ms.

    Raises:
        ValueError: It is neither.
    """
    text = str(value).strip().lower()
    unit = next((u for u in _UNITS if text.endswith(u)), "")
    try:
        number = float(text.removesuffix(unit))
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError("write a share up to 1, or milliseconds, such as 2.5 or 0.8ms")
    if not unit and number <= 1:
        return number
    return f"{number * _UNITS.get(unit, 1.0):g}ms"


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
