"""Variants of one rule: a few in every run, all of them in the slow one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def mostly_slow(variants: Iterable[Any], *fast: Any) -> list[Any]:
    """All variants as parameters of a test; those that aren't named belong to the slow tests.

    Raises:
        ValueError: A variant that is named isn't there.
    """
    every = list(variants)
    if missing := [name for name in fast if name not in every]:
        raise ValueError(f"no variant {missing[0]}")
    parts = [variant if isinstance(variant, tuple) else (variant,) for variant in every]
    marks = [() if variant in fast else pytest.mark.slow for variant in every]
    return [pytest.param(*part, marks=mark) for part, mark in zip(parts, marks, strict=True)]
