"""What a kernel of ONNX Runtime does: multiply-accumulates and bytes, out of its own profile.

The profile tells shapes as the kernel saw them, after fusion; weights that a kernel packed for
itself are missing in them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Shapes = Sequence[Sequence[int]]

_CONVOLUTIONS = ("Conv", "FusedConv", "NhwcFusedConv", "QLinearConv", "ConvInteger")
_PRODUCTS = ("Gemm", "FusedGemm", "MatMul", "FusedMatMul", "QGemm", "QLinearMatMul",
             "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul")  # fmt: skip


@dataclass(frozen=True)
class KernelWork:
    """What a kernel does.

    Attributes:
        macs: Multiply-accumulates; None for kinds that have none, or hide their weights.
        moved: Bytes that it reads and writes at least.
    """

    macs: int | None
    moved: int


def kernel_work(told: Mapping[str, Any]) -> KernelWork:
    """The work of a kernel.

    Args:
        told: The arguments of one of its events in the profile.
    """
    given, made = _shapes(told, "input"), _shapes(told, "output")
    kind = str(told.get("op_name", ""))
    macs = kernel_macs(kind, given, made)
    sizes = [int(told.get(f"{part}_size") or 0) for part in ("activation", "parameter", "output")]
    moved = sum(sizes)
    if macs and kind in _PRODUCTS and not any(len(s) >= 2 for s in given[1:]):
        out = made[0]
        packed = macs // max(1, math.prod(out[:-1]))
        moved += packed * (sizes[2] // max(1, math.prod(out)))
    return KernelWork(macs, moved)


def kernel_macs(kind: str, given: Shapes, made: Shapes) -> int | None:
    """Multiply-accumulates of a kernel; None for kinds that have none, or hide their weights.

    Args:
        kind: Its operator.
        given: Shapes of its inputs, those that it has.
        made: Shapes of its outputs.
    """
    if not given or not made:
        return None
    data, out = given[0], made[0]
    if kind in _PRODUCTS and len(data) >= 2:
        # Either factor may be stored transposed, so the inner size is what the rows leave.
        rows = max(out[-2], 1) if len(out) >= 2 else 1
        return math.prod(out) * (data[-1] * data[-2] // rows)
    weights = next((s for s in given[1:] if len(s) == len(data) > 2), None)
    if weights is None:
        return None
    if kind in _CONVOLUTIONS:
        return math.prod(out) * math.prod(weights[1:])
    return math.prod(data) * math.prod(weights[1:]) if kind == "ConvTranspose" else None


def _shapes(told: Mapping[str, Any], side: str) -> list[list[int]]:
    return [shape for one in told.get(f"{side}_type_shape") or () for shape in one.values()]
