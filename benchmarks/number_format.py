"""Numbers as people read them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from math import floor, isfinite, log10
from typing import Any

_SHARES = ("accuracy", "iou", "f1", "auc", "dice", "precision", "recall")
# A function of the user's, file.py:function or module:function, may give anything.
_OWN = re.compile(r":[A-Za-z_]")
# Metrics whose change is a share of what they were: of scores such as R², which may be near 0 or
# below it, that says nothing.
_ERRORS = ("mae", "mse", "rmse", "mape", "loss", "cer", "wer")
ABSENT = "–"
# Of a change within the noise of the machine.
SAME = "same"


def is_share(metric: str | None) -> bool:
    """Whether a metric is a share of 1, shown in per cent; higher is better then."""
    if metric is None or _OWN.search(metric):
        return False
    return any(name in metric.lower() for name in _SHARES)


def significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, never in exponents for everyday sizes."""
    if value == 0 or not isfinite(value):
        return "0" if value == 0 else str(value)
    size = floor(log10(abs(value)))
    if not -5 < size < 7:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - size)
    text = f"{value:,.{decimals}f}"
    return text.replace(",", " ")  # narrow no-break space between thousands


def counted(count: int, word: str, several: str = "") -> str:
    """A number of things, in the plural unless it is one.

    Args:
        count: How many.
        word: One of them.
        several: Many of them, where that isn't `word` with an s.

    >>> counted(1, "launch", "launches"), counted(0, "file"), counted(12345, "sample")
    ('1 launch', '0 files', '12\u202f345 samples')
    """
    return f"{whole(count)} {word if count == 1 else several or word + 's'}"


def whole(value: int) -> str:
    """A whole number, its thousands apart."""
    return f"{value:,}".replace(",", "\u202f")


def metric_text(metric: str | None, value: float | None, digits: int = 4) -> str:
    """A metric's value: shares in per cent, with two digits less behind the point than `digits`."""
    if value is None:
        return ABSENT
    if is_share(metric):
        return f"{100 * value:.{digits - 2}f} %"
    return significant(value, digits)


def bytes_text(value: float | None, digits: int = 3) -> str:
    """A size in B, kB, MB (powers of 1000)."""
    if value is None:
        return ABSENT
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{significant(value / size, digits)} {unit}"
    return f"{value:.0f} B"


def count_text(value: float | None) -> str:
    """A number of parameters or MACs with k, M, G."""
    if value is None:
        return ABSENT
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{significant(value / size)} {unit}"
    return f"{value:.0f}"


def ms_text(value: float | None, digits: int = 3) -> str:
    """A time in ms, µs or s."""
    if value is None:
        return ABSENT
    if value >= 1000:
        return f"{significant(value / 1000, digits)} s"
    shown, unit = (value, "ms") if value >= 1 else (value * 1000, "µs")
    return f"{significant(shown, digits)} {unit}"


def energy_text(value: float | None, digits: int = 3) -> str:
    """An energy in mJ."""
    return ABSENT if value is None else f"{significant(value, digits)} mJ"


_TEXTS: dict[str, Callable[[float | None, int], str]] = {
    "latency": ms_text,
    "size": bytes_text,
    "arena": bytes_text,
    "memory": bytes_text,
    "energy": energy_text,
}


def pair_texts(quantity: str, before: float | None, after: float | None) -> tuple[str, str]:
    """A figure before and after, with as many digits as it takes to tell the two apart.

    Args:
        quantity: "latency", "size", "arena", "memory", "energy", or a metric, which may name its
            output: "f1 of output 'mask'".
        before: Times in ms, sizes in bytes, energy in mJ.
        after: The same.
    """
    name, known = quantity.partition(" of output ")[0], _TEXTS.get(quantity)
    shown = ("", "")
    for digits in range(3 if known else 4, 9):
        text = known or partial(metric_text, name)
        shown = text(before, digits), text(after, digits)
        if before == after or shown[0] != shown[1]:
            break
    return shown


def seconds_text(value: float | None) -> str:
    """A duration in s or min."""
    if value is None:
        return ABSENT
    if value < 120:
        return f"{significant(value)} s"
    return f"{value / 60:.1f} min"


def change_text(before: float | None, after: float | None) -> str:
    """A change in per cent of `before`, with its sign."""
    if before is None or after is None or not before:
        return ""
    share = 100 * (after - before) / abs(before)
    return "±0 %" if abs(share) < 0.05 else f"{share:+.1f} %".replace("-", "−")


def times_text(before: float | None, after: float | None, less: str) -> str:
    """How many times smaller (or `less`) something got."""
    if not before or not after:
        return ""
    ratio = before / after
    if 0.985 < ratio < 1.015:
        return "unchanged"
    return f"{ratio:.2f}× {less}" if ratio > 1 else f"{change_text(before, after)}"


def metric_change(metric: str | None, before: float | None, after: float | None) -> str:
    """The change of a metric: points for shares, per cent for errors, else the difference."""
    if before is None or after is None:
        return ""
    if is_share(metric):
        points = 100 * (after - before)
        return "±0 points" if abs(points) < 0.005 else f"{points:+.2f} points".replace("-", "−")
    if metric is None or metric.partition(":")[0] in _ERRORS:
        return change_text(before, after)
    shown = significant(abs(after - before))
    return "±0" if shown == "0" else f"{'−' if after < before else '+'}{shown}"


def verdict_text(verdict: str) -> str:
    """The verdict of a ratio of times: what lies within the noise of the machine is "same"."""
    return f"same ({verdict})" if verdict == "no difference shown" else verdict


def processor_text(device: Mapping[str, Any]) -> str:
    """What a device's times were taken on, as far as it says."""
    cores = device.get("cores")
    parts = (device.get("processor"), cores and counted(int(cores), "core"), device.get("system"))
    return ", ".join(str(part) for part in parts if part)


def time_mark(row: Mapping[str, Any]) -> str:
    """What must stand beside a time that isn't one of real hardware; empty for one that is."""
    if row.get("timing_valid", True):
        return ""
    modelled = "performance model" in str(row.get("method") or "")
    return f"{'estimated' if modelled else 'emulated'}: not a real time"


def share_text(value: float) -> str:
    """A share as a percentage; what isn't all of it isn't 100 %.

    >>> share_text(0.999999), share_text(1.0)
    ('99.99 %', '100.00 %')
    """
    text = f"{100 * value:.2f} %"
    return "99.99 %" if value < 1 and text == "100.00 %" else text
