"""What operators of ONNX do: multiply-accumulates and bytes.

Shapes come from a graph, or from ONNX Runtime's profile, which tells them as the kernel saw them,
after fusion; weights that a kernel packed for itself are missing there, and channels are padded
where the kernel works in blocks of them.

Source of the shapes' axes: the ONNX operator specification.
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
_RECURRENT = ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM")
# Kinds of operators whose multiply-accumulates are counted.
COUNTED = frozenset((*_CONVOLUTIONS, *_PRODUCTS, *_RECURRENT, "ConvTranspose"))


@dataclass(frozen=True)
class KernelWork:
    """What a kernel does.

    Attributes:
        macs: Multiply-accumulates; None for kinds that have none, or hide their weights.
        moved: Bytes that it reads and writes at least.
    """

    macs: int | None
    moved: int


def kernel_work(event: Mapping[str, Any], stored: Sequence[int] | None = None) -> KernelWork:
    """The work of a kernel.

    Args:
        event: The arguments of one of its events in the profile.
        stored: The filter of a convolution that runs in padded blocks of channels, as the file has
            it; empty where that isn't known.
    """
    given, made = _shapes(event, "input"), _shapes(event, "output")
    kind = str(event.get("op_name", ""))
    blocked = stored is not None and kind in _CONVOLUTIONS
    macs = _blocked(made, stored or ()) if blocked else kernel_macs(kind, given, made)
    sizes = [int(event.get(f"{part}_size") or 0) for part in ("activation", "parameter", "output")]
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
        given: Shapes of its inputs, those that are known.
        made: Shapes of its outputs.
    """
    if kind not in COUNTED or not given or not made or not given[0]:
        return None
    data, out = given[0], made[0]
    if kind in _PRODUCTS:
        # Either factor may be stored transposed, so the inner size is what the rows leave.
        rows = max(out[-2], 1) if len(data) >= 2 and len(out) >= 2 else 1
        return math.prod(out) * (math.prod(data[-2:]) // rows)
    matrices = [s for s in given[1:] if len(s) == len(data) > 2]
    if kind in _RECURRENT:
        return _recurrent(data, matrices, units=out[-1])
    if not matrices:
        return None
    # [out, in / groups, kernel…]; of a transposed convolution [in, out / groups, kernel…]
    per_place = math.prod(matrices[0][1:])
    return math.prod(data if kind == "ConvTranspose" else out) * per_place


def _blocked(made: Shapes, stored: Sequence[int]) -> int | None:
    """A convolution whose channels are padded: its batch and places are right, the filter isn't."""
    if not made or not stored:
        return None
    return math.prod((made[0][0], *made[0][2:])) * math.prod(stored)


def _recurrent(data: Sequence[int], matrices: Shapes, units: int) -> int | None:
    """[directions, gates x units, in] and [directions, gates x units, units], for each step."""
    reads, repeats = (math.prod(s[1:]) for s in (*matrices, (), ())[:2])
    gates = repeats // units**2
    if gates not in (1, 3, 4) or reads != gates * units * data[-1]:
        return None  # hidden ones: what is left are first states
    return math.prod(data[:2]) * matrices[0][0] * (reads + repeats)


def _shapes(event: Mapping[str, Any], side: str) -> list[list[int]]:
    return [shape for one in event.get(f"{side}_type_shape") or () for shape in one.values()]
