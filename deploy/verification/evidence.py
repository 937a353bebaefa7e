"""What bounds on an output's error don't see: lost values, and samples that show little."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.number_format import counted
from edgepress.deploy.differences.growth import error_holds
from edgepress.deploy.differences.lost import collapsed, drowned
from edgepress.deploy.differences.slices import merged
from edgepress.deploy.quantize.precision import Precision
from edgepress.deploy.verification.source_outputs import PairedOutput

Array = NDArray[Any]
# Outputs that differ by less than this share of the largest are one output.
_SAME = 1e-6


@dataclass(frozen=True)
class Lost:
    """Values that an output lost.

    Attributes:
        output: The output.
        slices: Where, as people read it; empty where single samples were lost.
        reason: The whole sentence.
    """

    output: str
    slices: tuple[str, ...]
    reason: str


def lost_values(
    outputs: Sequence[PairedOutput], targets: Mapping[str, Array], precision: Precision
) -> Lost | None:
    """Values that an output lost, whatever its error is; None where none are.

    Args:
        outputs: What source and file gave.
        targets: By output, as far as they are known.
        precision: Says what rounding explains.
    """
    for output in outputs:
        if output.whole:
            continue
        flat = collapsed(output.have, output.want, precision, output.one_unit)
        if flat:
            return Lost(
                output.name,
                merged([part for part in flat if part.axis]),
                f"output '{output.name}' {' and '.join(merged(flat))}: the file gives one value"
                f" where the source's vary, which rounding to {precision.name} doesn't explain",
            )
        found = drowned(output.have, output.want, precision, output.one_unit)
        if found is None or _no_worse(output, found[0], targets.get(output.name), precision):
            continue
        some, error = found
        return Lost(
            output.name,
            (),
            f"output '{output.name}': {int(some.sum())} of {counted(len(some), 'sample')} are far"
            f" smaller than the largest, and differ by {error:.3g} of their own size",
        )
    return None


def _no_worse(
    output: PairedOutput, some: NDArray[np.bool_], truth: Array | None, precision: Precision
) -> bool:
    """Whether targets show that some samples are as far from them as the source's are."""
    if truth is None or np.size(truth) != output.want.size or truth.dtype.kind not in "fiub":
        return False
    truth = truth.reshape(output.want.shape)
    return error_holds(output.have[some], output.want[some], truth[some], precision)


def varies(outputs: Sequence[Array]) -> bool:
    """Whether any of several outputs, each (n, …), isn't the same for all samples."""
    return any(_reach(want) > _SAME * float(np.abs(want).max(initial=0)) for want in outputs)


def doubts(outputs: Sequence[PairedOutput]) -> Iterator[str]:
    """What the samples don't show, one line each: a verdict says no more than they do."""
    count = len(outputs[0].want)
    if count < 2:
        yield "a single sample was compared"
        return
    for output in outputs:
        of, largest = f"output '{output.name}'", float(np.abs(output.want).max(initial=0))
        if _reach(output.want) <= _SAME * largest:
            yield (
                f"the source's {of} is the same for all {count} samples: a file that doesn't"
                " look at its input would pass"
            )
        elif _reach(output.have) == 0:
            yield (
                f"the file's {of} is the same for all {count} samples; the source's varies by"
                f" {_reach(output.want) / largest:.2g} of its largest value"
            )
        elif output.decision.kind == "classes" and output.want.ndim == 2:
            chosen = np.unique(output.want.argmax(-1))
            if len(chosen) == 1:
                yield f"{of} is of class {chosen[0]} for all {count} samples: no other was seen"


def _reach(values: Array) -> float:
    """How far the values of one place are apart over the samples, at most."""
    return float(np.ptp(values.astype(np.float64), axis=0).max(initial=0))
