"""What a model file consists of: operators with their weights, their work and their types."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepress.compress.kernel.artifact import TensorSpec
from edgepress.compress.specs.pruning_result import Uncounted
from edgepress.deploy.sources.contents.arithmetic import arithmetic, batch_of, truths
from edgepress.deploy.sources.contents.operation import Constant, Operation
from edgepress.deploy.sources.signature import Signature

_NO_GROUPS = "channels are traced through Keras layers only: this is no Keras model"

_INTEGERS = frozenset({"int8", "int4"})
# Operators that make floats of integers before any product.
_UNPACKING = frozenset({"DEQUANTIZE", "GATHER", "EMBEDDING_LOOKUP", "CAST", "DequantizeLinear"})


@dataclass(frozen=True)
class OperatorReport:
    """One operator in numbers, with the fields that a Keras layer has.

    Attributes:
        name: See `Operation`.
        type: See `Operation`.
        params: Numbers stored for it; 0 where they were counted before.
        macs: Multiply-accumulates of one inference.
        trainable: False: a file of this kind isn't trained.
        sparsity: Share of zeros in its kernels.
        activation_bytes: See `Operation`.
        bytes: What its stored numbers take.
        dtype: Of what it puts out.
        weights: Type of its kernels, else of its first stored numbers; empty without any.
        shape: Of what it puts out.
    """

    name: str
    type: str
    params: int
    macs: int
    trainable: bool
    sparsity: float
    activation_bytes: int
    bytes: int
    dtype: str
    weights: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class FileInspection:
    """A model file in numbers, with the fields of `compress.Inspection` where they make sense.

    Attributes:
        kind: What it is, with its article.
        params: Numbers stored as weights: those that are floats or have a scale.
        trainable_params: 0.
        macs: Multiply-accumulates of one inference at the file's own batch size.
        bytes: Size of the file or folder.
        sparsity: Share of zeros in all kernels.
        quantize: How numbers are stored, a name in `PRECISIONS`.
        types: Stored numbers by type.
        inputs: What it takes.
        outputs: What it gives.
        layers: Its operators in the order in which they run.
        groups: Empty.
        groups_reason: Why there are no channel groups.
        notes: What the figures don't say, one line each.
        operators: How many operators it has, without those that only convert numbers.
        in_floats: How many of them compute in floats, by kind.
        batch: Samples that it takes at a time; None where that is free.
        uncounted: Operators whose multiply-accumulates `macs` leaves out, and why.
        lacking: Operators that the runtime asked about has no kernel for.
    """

    kind: str
    params: int
    trainable_params: int
    macs: int
    bytes: int
    sparsity: float
    quantize: str
    types: Mapping[str, int]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    layers: tuple[OperatorReport, ...]
    groups: tuple[()] = ()
    groups_reason: str = _NO_GROUPS
    notes: tuple[str, ...] = ()
    operators: int = 0
    in_floats: Mapping[str, int] = dataclasses.field(default_factory=dict)
    batch: int | None = None
    uncounted: tuple[Uncounted, ...] = ()
    lacking: tuple[str, ...] = ()

    @property
    def hybrid(self) -> tuple[str, ...]:
        """Kinds of operators that multiply floats by integer weights as they read them."""
        return tuple(
            dict.fromkeys(
                layer.type
                for layer in self.layers
                if layer.weights in _INTEGERS
                and layer.dtype == "float32"
                and layer.type not in _UNPACKING
            )
        )

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return dataclasses.asdict(self)


def account(
    kind: str,
    size: int,
    signature: Signature,
    operations: Sequence[Operation],
    quantize: str,
    notes: Iterable[str] = (),
    path: Path | None = None,
) -> FileInspection:
    """Add operators up.

    Args:
        kind: What the file is, with its article.
        size: Its bytes.
        signature: What it takes and gives.
        operations: Its operators.
        quantize: How it stores numbers.
        notes: Remarks.
        path: The file, for what its name promises.
    """
    counted: set[str] = set()
    layers, kernels, types = [], [0, 0], Counter[str]()
    computed = arithmetic(operations)
    sides = signature.inputs, signature.outputs
    checks = () if path is None else truths(path, quantize, computed, *sides)
    for operation in operations:
        new = {c.key: c for c in operation.constants if c.key not in counted}
        counted |= new.keys()
        layers.append(_report(operation, list(new.values())))
        for constant in new.values():
            types[constant.dtype] += constant.size
            if constant.kernel:
                kernels = [kernels[0] + constant.zeros, kernels[1] + constant.size]
    return FileInspection(
        kind=kind,
        params=sum(layer.params for layer in layers),
        trainable_params=0,
        macs=sum(layer.macs for layer in layers),
        bytes=size,
        sparsity=kernels[0] / kernels[1] if kernels[1] else 0.0,
        quantize=quantize,
        types=dict(types),
        inputs=signature.inputs,
        outputs=signature.outputs,
        layers=tuple(layers),
        notes=(*checks, *notes),
        operators=computed.operators,
        in_floats=computed.in_floats,
        batch=batch_of(signature.inputs),
        uncounted=tuple(Uncounted(o.name, o.uncounted) for o in operations if o.uncounted),
    )


def _report(operation: Operation, new: Sequence[Constant]) -> OperatorReport:
    kernels = [c for c in operation.constants if c.kernel]
    stored = sum(c.size for c in kernels)
    return OperatorReport(
        name=operation.name,
        type=operation.type,
        params=sum(c.size for c in new),
        macs=operation.macs or 0,
        trainable=False,
        sparsity=sum(c.zeros for c in kernels) / stored if stored else 0.0,
        activation_bytes=operation.activation_bytes,
        bytes=sum(c.bytes for c in new),
        dtype=operation.dtype,
        weights=next((c.dtype for c in [*kernels, *operation.constants]), ""),
        shape=operation.shape,
    )
