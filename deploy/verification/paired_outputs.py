"""Source and file side by side: what each output gave, decides, and is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.output_task import OutputTask
from edgepress.compress.data.tasks import output_names
from edgepress.deploy.differences.slices import Slices, shares_unit, small_slices
from edgepress.deploy.verification.decisions import Decision, decision_of
from edgepress.deploy.verification.source_outputs import SourceOutputs

Array = NDArray[Any]


@dataclass(frozen=True)
class PairedOutput:
    """One output of source and file.

    Attributes:
        name: The output.
        want: (n, …) what the source gives.
        have: (n, …) what the file gives.
        whole: Whether the source gives whole numbers.
        decision: What it decides.
        slices: Slices with ranges of their own.
        one_unit: Whether a slice of a small range means nothing, see `differences.slices`.
    """

    name: str
    want: Array
    have: Array
    whole: bool
    decision: Decision
    slices: tuple[Slices, ...]
    one_unit: bool


def paired_outputs(source: SourceOutputs, got: list[Array]) -> list[PairedOutput]:
    """The outputs of a source and of a file.

    Args:
        source: The source's samples and outputs.
        got: The file's outputs, in the source's order and shapes.
    """
    found: list[PairedOutput] = []
    tensors = list(getattr(source.model, "outputs", None) or [None] * len(got))
    for index, (name, w, g) in enumerate(zip(_names(source), source.outputs, got, strict=True)):
        want = w.astype(np.float64)
        part = source.task.outputs[index] if source.task else None
        decision = decision_of(part, w)
        one_unit = (
            decision.kind == "numbers"
            or (source.task is not None and decision.kind in ("classes", "labels"))
            or shares_unit(tensors[index])
        )
        slices = () if one_unit else small_slices(want)
        if slices and source.task is None:
            decision = Decision("values")
        found.append(
            PairedOutput(
                name, want, g.astype(np.float64), w.dtype.kind != "f", decision, slices, one_unit
            )
        )
    return found


def _names(source: SourceOutputs) -> tuple[str, ...]:
    if source.task is not None:
        return source.task.output_names
    if getattr(source.model, "outputs", None):
        return output_names(source.model)
    return tuple(f"output {i}" for i in range(len(source.outputs)))


def scored_outputs(
    source: SourceOutputs, outputs: list[PairedOutput]
) -> Iterator[tuple[PairedOutput, OutputTask, Any]]:
    """Outputs that targets say something of, with what they are asked for; none without data.

    Targets that mean something to a loss alone say nothing here.
    """
    task = source.task
    if task is None or source.targets is None:
        return
    targets = task.target_list(source.targets)
    for output, part, target in zip(outputs, task.outputs, targets, strict=True):
        if part.scored and part.kind != "own" and target is not None:
            yield output, part, target
