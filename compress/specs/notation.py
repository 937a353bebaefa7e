"""Values as people write them on the command line and in recipes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Stands for a learning rate that a range test finds before the training.
AUTO_RATE = 0.0
# Texts of a form of their own, and how people write them, for errors.
CLASS_WEIGHTS = r"^(none|balanced|auto|[^=,]+=[^=,]+(,[^=,]+=[^=,]+)*)$"
BLOCK = r"^[1-9]\d*x[1-9]\d*$"
N_OF_M = r"^[1-9]\d*:[1-9]\d*$"
FORMS = {
    CLASS_WEIGHTS: "none, balanced, or the weight of each class, as 0=1,cat=2.5",
    BLOCK: "rows x columns, as 1x4",
    N_OF_M: "how many of how many stay, as 2:4",
}


def parse_number(text: object) -> object:
    """Read `1/255` or `0.5` as a number; leave what isn't text alone."""
    if not isinstance(text, str):
        return text
    # Never as exact fractions: `1e999999999` would be spelled out.
    above, line, below = text.partition("/")
    try:
        return float(above) / float(below) if line else float(above)
    except (ValueError, ArithmeticError):
        raise ValueError("write a number, such as 0.5 or 1/255") from None


def parse_numbers(text: object) -> Any:
    """Read `0.5,0.5,0.5` (or one number) as a tuple of numbers."""
    if isinstance(text, str):
        return tuple(parse_number(part) for part in text.split(","))
    return (text,) if isinstance(text, int | float) else text


def parse_size(text: object) -> object:
    """Read `96x96` as (height, width)."""
    if not isinstance(text, str):
        return text
    parts = text.lower().split("x")
    if not all(part.strip().isdecimal() for part in parts):
        raise ValueError("write whole numbers with an x between them, such as 96x96")
    return tuple(int(part) for part in parts)


def parse_points(text: object) -> object:
    """Read `5=1e-3,10=1e-4` as pairs of (epoch, rate)."""
    return tuple(tuple(p.split("=")) for p in text.split(",")) if isinstance(text, str) else text


def parse_rate(value: object) -> object:
    """Read a learning rate; `auto` becomes `AUTO_RATE`."""
    if value == "auto":
        return AUTO_RATE
    number = parse_number(value)
    if isinstance(number, int | float) and not number > 0:
        raise ValueError("write a rate above 0, or auto")
    return number


def show_rate(rate: float) -> float | str:
    """A rate as it is written in a recipe."""
    return "auto" if rate == AUTO_RATE else rate


def parse_class_weights(value: object) -> object:
    """Read a mapping `{0: 1, cat: 2.5}` as the text `0=1,cat=2.5`."""
    if isinstance(value, dict):
        return ",".join(f"{name}={weight}" for name, weight in value.items())
    return value


def parse_positive_weights(value: object) -> object:
    """Read a number, a list of them or a mapping as the text `1,2.5` or `0=1,cat=2.5`."""
    if isinstance(value, list | tuple):
        return ",".join(str(weight) for weight in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return parse_class_weights(value)


def as_list(value: object) -> object:
    """Read a single text as a list of one."""
    return [value] if isinstance(value, str) else value


def parse_class_names(value: object) -> object:
    """Read `cat,dog`, alone or as the one name of a list, as the names of classes in order.

    A list of several is taken as it is, for names may hold commas; numbers are names too.
    """
    names = as_list(value)
    if not isinstance(names, list | tuple):
        return value
    texts = [str(name) if type(name) is int else name for name in names]
    if len(texts) == 1 and isinstance(texts[0], str):
        return [part.strip() for part in texts[0].split(",")]
    return texts


def parse_by_output(value: object) -> object:
    """Read `mse`, `a=mse,b=mae`, a number or a mapping as a list of texts; nothing as none."""
    value = str(value) if type(value) is int else value
    if isinstance(value, Mapping):
        return [f"{name}={one}" for name, one in value.items()]
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
        return parts if all("=" in part for part in parts) else [value]
    return () if value is None else value


def parse_share(text: object) -> object:
    """Read `1%` or `0.01` as a share."""
    if isinstance(text, str) and text.strip().endswith("%"):
        try:
            return float(text.strip()[:-1]) / 100
        except ValueError:
            raise ValueError("write a share, such as 1% or 0.01") from None
    return text
