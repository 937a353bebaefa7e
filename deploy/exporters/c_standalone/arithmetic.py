"""The fixed-point numbers that TensorFlow Lite's reference kernels prepare before they run.

Source: quantization_util.cc, kernel_util.cc and fixedpoint.h (gemmlowp) of tensorflow/tensorflow;
sums are rounded twice there, as LiteRT's wheels are built, those of dense layers once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgepress.deploy.exporters.exporter import Unsupported

_ONE = (1 << 31) - 1
# Factors of exp(-1/4), exp(-1/2), … exp(-16) in steps of 2^-31.
_FACTORS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
_BITS = 26  # behind the point of what the exponential is taken of


def multiplier_of(value: float) -> tuple[int, int]:
    """A factor as (multiplier, shift): it is multiplier * 2^(shift - 31).

    >>> multiplier_of(0.5), multiplier_of(3.0)
    ((1073741824, 0), (1610612736, 2))
    """
    if value == 0:
        return 0, 0
    share, shift = math.frexp(value)
    multiplier = _rounded(share * (1 << 31))
    if multiplier == 1 << 31:
        multiplier, shift = multiplier // 2, shift + 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def exact_multiplier(value: float) -> tuple[int, int]:
    """A factor as (multiplier, shift) without rounding: it is multiplier * 2^-(shift + 31).

    LiteRT's kernel of dense layers multiplies sums by a double and rounds once. With all bits of
    the factor integers give the same, but where the double product is itself rounded to a half.

    Raises:
        Unsupported: There is such a sum.

    >>> exact_multiplier(0.5)
    (2305843009213693952, 31)
    """
    share, exponent = math.frexp(value)
    if exponent < -31:
        return 0, 1
    multiplier, shift = int(share * (1 << 62)), 31 - exponent
    halves = np.arange(256) + 0.5
    for sum_ in np.rint(halves / value):
        product = float(sum_) * value
        exact = int(sum_) * multiplier + (1 << (shift + 30)) >> shift + 31
        if exact != math.floor(product + 0.5) and product < 255:
            raise Unsupported(
                "c-standalone rounds a sum of a FULLY_CONNECTED otherwise than LiteRT;"
                " take --format c"
            )
    return multiplier, shift


def mean_multiplier(value: float, count: int) -> tuple[int, int]:
    """A factor divided by how many are added, as (multiplier, shift)."""
    multiplier, shift = multiplier_of(value)
    more = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << more) // count, shift - more


def limits(activation: str, scale: np.float32, zero_point: int) -> tuple[int, int]:
    """The least and greatest integer that an operator gives, by its fused activation.

    Raises:
        KeyError: Such an activation has no limits.
    """
    lowest, highest = _RANGES[activation]
    found = [-128, 127]
    for side, bound in enumerate((lowest, highest)):
        if bound is not None:
            level = zero_point + _rounded(float(np.float32(bound) / scale))
            found[side] = min(max(level, -128), 127)
    return found[0], found[1]


_RANGES = {
    "NONE": (None, None),
    "RELU": (0, None),
    "RELU6": (0, 6),
    "RELU_N1_TO_1": (-1, 1),
}


def exponentials(scale: np.float32, beta: float) -> Sequence[int]:
    """exp(-difference * scale * beta) in steps of 2^-31, for each difference from 0 on.

    It ends where the kernel takes it for 0.
    """
    largest = float((1 << 31) - 1)
    real = min(float(np.float32(beta)) * float(scale) * (1 << _BITS), largest)
    multiplier, shift = multiplier_of(real)
    radius = math.floor(31 * (1 << _BITS) / (1 << shift))
    differences = range(min(radius, 255) + 1)
    return [_exponential(_high_product(-d << shift, multiplier)) for d in differences]


def _exponential(value: int) -> int:
    """The exponential of a number up to 0 with 5 bits before the point."""
    if value == 0:
        return _ONE
    quarter = 1 << (_BITS - 2)
    part = (value & (quarter - 1)) - quarter
    found = _near_zero(part << 5)
    rest = part - value
    for position, factor in enumerate(_FACTORS):
        if rest & (1 << (_BITS - 2 + position)):
            found = _high_product(found, factor)
    return found


def _near_zero(value: int) -> int:
    """The exponential between -1/4 and 0: Taylor's series around -1/8."""
    middle, third = 1895147668, 715827883
    x = value + (1 << 28)
    square = _high_product(x, x)
    cube, fourth = _high_product(square, x), _high_product(square, square)
    terms = _divided(_high_product(_divided(fourth, 2) + cube, third) + square, 1)
    return min(middle + _high_product(middle, x + terms), _ONE)


def _high_product(a: int, b: int) -> int:
    product = a * b
    size = (abs(product) + (1 << 30) - (product < 0)) // (1 << 31)
    return size if product >= 0 else -size


def _divided(value: int, exponent: int) -> int:
    mask = (1 << exponent) - 1
    return (value >> exponent) + ((value & mask) > (mask >> 1) + (value < 0))


def _rounded(value: float) -> int:
    """To the nearest integer, halves away from zero."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))
