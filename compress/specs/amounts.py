"""Amounts with units as people write them."""

from __future__ import annotations

import re

_TIMES = {"ms": 1.0, "us": 1e-3, "µs": 1e-3, "s": 1e3}
_LATENCY = "write a share up to 1 or 100%, or milliseconds, such as 2.5 or 0.8ms"
_AMOUNT = "write a share up to 1 or 100%, or a number above 1, such as 64000, 64kB or 1.5MB"
_THOUSANDS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def parse_latency(value: object) -> float | str:
    """Read a share (up to 1, or `50%`) as a number; what is above, or has a unit, as text in ms.

    Raises:
        ValueError: It is neither.
    """
    text = str(value).strip().lower()
    if text.endswith("%"):
        return _percentage(text, _LATENCY)
    unit = next((u for u in _TIMES if text.endswith(u)), "")
    number = _positive(text.removesuffix(unit), _LATENCY)
    if not unit and number <= 1:
        return number
    return f"{number * _TIMES.get(unit, 1.0):g}ms"


def parse_amount(value: object) -> object:
    """Read `50%` as a share, `64kB`, `1.5MB` or `48KiB` as bytes, `2M` as a number; others as is.

    Raises:
        ValueError: It is text and none of these, or a unit stands behind what would be a share.
    """
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if text.endswith("%"):
        return _percentage(text, _AMOUNT)
    parts = re.fullmatch(r"(.*?)\s*([kmg]?)(i?b)?", text)
    number, prefix, of = parts.groups() if parts else (text, "", None)
    if of == "ib" and not prefix:
        raise ValueError(_AMOUNT)
    found = _positive(number, _AMOUNT)
    unit = 1024 ** list(_THOUSANDS).index(prefix) if of == "ib" else _THOUSANDS[prefix]
    if (prefix or of) and found * unit <= 1:
        raise ValueError(f"one byte or less can't be kept: {_AMOUNT}")
    return found * unit


def _percentage(text: str, form: str) -> float:
    """The share of `50%`."""
    share = _positive(text.removesuffix("%"), form) / 100
    if share > 1:
        raise ValueError(form)
    return share


def _positive(text: str, form: str) -> float:
    """A number above 0, or an error that says how it is written."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError(form)
    return number


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
