"""What recipes are judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgepress.compress.kernel.registry import Table

Figures = Mapping[str, Any]
# Objectives that stand in the rows of a benchmark, by the field.
ROW_FIELDS = {
    "latency": "median_ms",
    "ram": "arena_bytes",
    "memory": "peak_memory_bytes",
    "energy": "energy_mj",
    "bytes": "bytes",
    "gzip_bytes": "gzip_bytes",
}


@dataclass(frozen=True)
class Objective:
    """A figure of a finished trial.

    Attributes:
        unit: For people.
        read: Gives it from the trial's figures; None where it wasn't measured. They are `model`
            (path of the Keras model that was exported), `artifact`, `row` (of its benchmark),
            `after`, `validation` and `latency`.
        smaller: Whether smaller is better; None leaves it to the task's metric.
    """

    unit: str
    read: Callable[[Figures], float | None]
    smaller: bool | None = True


def _measured(name: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures["row"].get(name)


# A new objective is one line.
OBJECTIVES: Table[Objective] = Table(
    "objective",
    {
        "metric": Objective("", lambda figures: figures["validation"], None),
        # As a multiple of a reference file's that was timed in the same minute, where there is one.
        "latency": Objective("× the reference", lambda figures: figures["latency"]),
        "bytes": Objective("bytes", lambda figures: figures["artifact"]["bytes"]),
        "gzip_bytes": Objective("bytes", lambda figures: figures["artifact"]["gzip_bytes"]),
        # Of TFLite files: what activations need, as the arena is planned.
        "ram": Objective("bytes", _measured(ROW_FIELDS["ram"])),
        "memory": Objective("bytes", _measured(ROW_FIELDS["memory"])),
        "energy": Objective("mJ", _measured(ROW_FIELDS["energy"])),
        "macs": Objective("", lambda figures: figures["after"]["macs"]),
        "params": Objective("", lambda figures: figures["after"]["params"]),
    },
    entry_point_group="edgepress.objectives",
)
