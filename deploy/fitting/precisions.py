"""Which precisions a fit tries in the given model, and what zeros make smaller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgepress.benchmarks.runtimes.host_info import read_energy
from edgepress.compress.errors import InputError
from edgepress.deploy.exporters.table import EXPORTERS
from edgepress.deploy.searching.limits import Limit
from edgepress.deploy.searching.trial import Outcome

# Those that need no training, the coarsest first.
_TRIED = ("int8", "dynamic", "float16", "float32")


def candidates(format: str, asked: Sequence[str] = ()) -> tuple[str, ...]:
    """Precisions of the given model's files that are measured.

    Args:
        format: The file format.
        asked: Those to choose from; all that need no training by default.
    """
    if asked:
        return tuple(asked)
    exporter = EXPORTERS[format]
    return tuple(name for name in _TRIED if name in exporter.precisions)


def zeros_pay(minimise: str) -> bool:
    """Whether zeros in kernels make an objective smaller: what is compressed for transport does."""
    return minimise == "gzip_bytes"


def cheapest(
    outcomes: Mapping[str, Outcome],
    drops: Mapping[str, float],
    max_drop: float,
    limits: Sequence[Limit],
) -> str:
    """The precision with the least objective of those that keep the floor by themselves.

    Those nearer to the limits come first.

    Args:
        outcomes: Of the given model's files, by precision.
        drops: Their falls on validation data.
        max_drop: Largest fall.
        limits: What may not be exceeded.
    """

    def order(quantize: str) -> tuple[bool, float, float]:
        figures = outcomes[quantize].figures or {}
        over = max((limit.over(figures) for limit in limits), default=0.0)
        return drops[quantize] > max_drop, max(0.0, over), outcomes[quantize].values[1]

    return min(outcomes, key=order)


def refuse_uncounted_energy(devices: Sequence[str]) -> None:
    """Refuse to minimise what this machine doesn't count.

    What other devices count is known once they have run a file.

    Raises:
        InputError: All devices are this machine, and it has no energy counter that can be read.
    """
    if set(devices) == {"local"} and not read_energy():
        raise InputError(
            "energy can't be minimised on 'local': no energy counter can be read there",
            "name a device that has one (--device), or --minimise latency",
        )
