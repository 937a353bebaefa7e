"""Multiply-accumulates of an Einstein sum."""

from __future__ import annotations

import math
from collections.abc import Sequence


def einsum_macs(equation: str, shapes: Sequence[tuple[int, ...]]) -> int | None:
    """Every letter of the equation is one loop.

    Args:
        equation: Such as "bij,bjk->bik"; "..." stands for the axes without a letter.
        shapes: Of the factors.

    Returns:
        The MACs; None for other than two factors.

    >>> einsum_macs("bij,bjk->bik", [(1, 2, 3), (1, 3, 5)])
    30
    >>> einsum_macs("...i,ij->...j", [(4, 7, 2), (2, 3)])
    168
    """
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if len(terms) != 2:
        return None
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        before, _, behind = term.partition("...")
        named = [*zip(before, shape, strict=False)]
        named += zip(reversed(behind), reversed(shape), strict=False)
        free = shape[len(before) : len(shape) - len(behind)] if "..." in term else ()
        named += [(f"...{i}", size) for i, size in enumerate(reversed(free))]
        for letter, size in named:
            sizes[letter] = max(size, sizes.get(letter, 1))
    return math.prod(sizes.values())
