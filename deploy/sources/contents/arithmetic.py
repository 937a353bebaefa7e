"""What a file really is: what its operators compute in, its batch, its name against its content."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepress.compress.kernel.artifact import TensorSpec
from edgepress.deploy.sources.contents.operation import Constant, Operation

# Operators that only change how numbers are stored.
CONVERTING = frozenset({
    "QUANTIZE", "DEQUANTIZE", "CAST", "QuantizeLinear", "DequantizeLinear", "Cast",
    "DynamicQuantizeLinear",
})  # fmt: skip
_INTEGER_NAMES = ("int8", "int16")
_SHOWN = 6


@dataclass(frozen=True)
class Arithmetic:
    """What the operators of a file compute in; those that only convert numbers are left out.

    Attributes:
        operators: How many there are.
        in_floats: How many compute in floats, by kind.
        mixed: How many read weights in integers, which the runtime unpacks or multiplies with
            activations that it quantises again each time.
        weights: How many numbers are stored for operators.
        in_integers: How many of these are integers.
    """

    operators: int
    in_floats: Mapping[str, int]
    mixed: int
    weights: int = 0
    in_integers: int = 0

    @property
    def floats(self) -> int:
        """How many compute in floats."""
        return sum(self.in_floats.values())


def arithmetic(operations: Sequence[Operation]) -> Arithmetic:
    """What operators compute in."""
    computing = [o for o in operations if o.type not in CONVERTING]
    floats = [o for o in computing if o.in_floats]
    mixed = sum(any(_short(c) for c in o.constants if c.kernel) for o in computing)
    kinds = Counter(o.type for o in floats)
    stored = {c.key: c for o in operations for c in o.constants}.values()
    numbers = [c for c in stored if "float" in c.dtype or _short(c)]
    integers = sum(c.size for c in numbers if _short(c))
    total = sum(c.size for c in numbers)
    return Arithmetic(len(computing), dict(kinds.most_common()), mixed, total, integers)


def _short(constant: Constant) -> bool:
    """Whether it holds weights in integers; wider ones are shapes and places."""
    return constant.dtype in ("int4", "int8", "uint8")


def batch_of(inputs: Sequence[TensorSpec]) -> int | None:
    """How many samples a file takes at a time; None where that is free."""
    return next((spec.shape[0] for spec in inputs if spec.shape), None)


def truths(
    path: Path,
    quantize: str,
    found: Arithmetic,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> Iterator[str]:
    """What people should know of a file whatever it is called, one line each.

    Args:
        path: The file.
        quantize: How it stores numbers, a name in `PRECISIONS`.
        found: What its operators compute in.
        inputs: What it takes.
        outputs: What it gives.
    """
    whole = quantize in ("int8", "int16x8")
    # A name that promises weights alone promises no more.
    name = re.sub(r"int[48][-_]?weights", "", path.name.lower())
    if not whole and quantize not in name and any(kind in name for kind in _INTEGER_NAMES):
        yield f"its name says integers, but it is {quantize}: activations are floats"
    if quantize in ("dynamic", "int8-weights", "int4-weights"):
        yield (
            f"only weights are integers, {found.in_integers:,} of {found.weights:,} of them:"
            f" {found.mixed} of {found.operators} operators read them, and activations between"
            " operators are floats"
        )
    elif whole and found.floats:
        kinds = [f"{kind} x {n}" if n > 1 else kind for kind, n in found.in_floats.items()]
        more = f", and {len(kinds) - _SHOWN} kinds more" if len(kinds) > _SHOWN else ""
        yield (
            f"{found.floats} of {found.operators} operators compute in floats:"
            f" {', '.join(kinds[:_SHOWN])}{more}"
        )
    if whole and path.suffix.lower() == ".onnx" and found.floats < found.operators:
        yield _between_integers(found)
    elif whole and not found.floats:
        yield f"all {found.operators} operators compute in integers"
    sides = (("takes", inputs), ("gives", outputs))
    yield "; ".join(f"{verb} {_types(specs)}" for verb, specs in sides)
    size = batch_of(inputs)
    yield "its batch is free" if size is None else f"its batch is fixed: {size} at a time"


def _between_integers(found: Arithmetic) -> str:
    """What a graph of QuantizeLinear and DequantizeLinear says, and what it leaves open."""
    rest = found.operators - found.floats
    which = f"the other {rest}" if found.floats else f"all {rest}"
    return (
        f"{which} operators compute in integers as far as ONNX Runtime has such kernels, by its"
        " version and the processor: the file says only that they stand between integers (QDQ)"
    )


def _types(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(dict.fromkeys(spec.dtype for spec in specs))
