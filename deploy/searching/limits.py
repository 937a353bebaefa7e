"""What may not be exceeded: RAM, bytes, latency, as numbers or as shares of the float file's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgepress.benchmarks.number_format import bytes_text, ms_text, share_text
from edgepress.benchmarks.records import BenchmarkRow
from edgepress.compress.errors import CheckFailed
from edgepress.compress.specs.amounts import latency_ms
from edgepress.compress.specs.prune_parts import Share
from edgepress.compress.specs.recipe import Spec
from edgepress.compress.specs.training import Latency
from edgepress.deploy.recipe import AcceptSpec
from edgepress.deploy.searching.objectives import ROW_FIELDS

_WORDS = {"ram": "RAM", "bytes": "a file", "latency": "a latency"}
_FLAGS = {"ram": "--max-ram", "bytes": "--max-bytes", "latency": "--max-latency"}


class LimitsSpec(Spec):
    """What may not be exceeded.

    Attributes:
        max_ram: Most RAM for activations (the arena of a TFLite file), in bytes as 64kB, or as a
            share (50%) of what the given model's float file needs.
        max_bytes: Largest file, in bytes as 64kB, or as a share of the given model's float file.
        max_latency: Longest time of an inference on the device, as 20ms, or as a share of the given
            model's float file.
    """

    max_ram: Share = None
    max_bytes: Share = None
    max_latency: Latency | None = None

    @property
    def limits(self) -> Mapping[str, float | str]:
        """What may not be exceeded as it was asked for, by objective."""
        return asked_limits(self)


def asked_limits(spec: LimitsSpec | AcceptSpec) -> Mapping[str, float | str]:
    """The limits of a fit or of a recipe as they were asked for, by objective."""
    asked = {"ram": spec.max_ram, "bytes": spec.max_bytes, "latency": spec.max_latency}
    return {name: most for name, most in asked.items() if most is not None}


@dataclass(frozen=True)
class Limit:
    """The most that a figure may be.

    Attributes:
        name: "ram", "bytes" or "latency".
        most: In bytes or ms, or a share.
        full: The figure of the given model's float file, which a share is of; None for a number.
    """

    name: str
    most: float
    full: float | None = None

    @property
    def flag(self) -> str:
        """The option."""
        return _FLAGS[self.name]

    def over(self, figures: Mapping[str, Any]) -> float:
        """The share by which a trial exceeds it; below 0 where there is room.

        Args:
            figures: Of the trial. A share of the latency is taken from files that were timed in
                turns, where they were.
        """
        return self._value(figures) / self.most - 1

    def enough(self, figures: Mapping[str, Any]) -> str:
        """The limit that would let a trial pass, as the command line takes it, rounded up."""
        value = self._value(figures)
        if self.full is not None:
            return f"{self.flag} {math.ceil(1000 * value) / 10:g}%"
        if self.name == "latency":
            return f"{self.flag} {_up(value):g}ms"
        return f"{self.flag} {math.ceil(value)}B"

    def words(self) -> str:
        """The limit for people."""
        if self.full is not None:
            return f"{_WORDS[self.name]} of at most {share_text(self.most)} of the given model's"
        shown = ms_text(self.most) if self.name == "latency" else bytes_text(self.most)
        return f"{_WORDS[self.name]} of at most {shown}"

    def _value(self, figures: Mapping[str, Any]) -> float:
        value = float(figures[self.name])
        if self.full is None:
            return value
        ratio = figures.get("latency_ratio") if self.name == "latency" else None
        return value / self.full if ratio is None else float(ratio)


def refuse_ram_elsewhere(format: str | None, names: Iterable[str]) -> None:
    """Refuse RAM as an objective or a limit of files whose arena nothing plans.

    Args:
        format: The files' format; None where it isn't named.
        names: Objectives and limits.

    Raises:
        ValueError: They are ONNX files.
    """
    if format == "onnx" and "ram" in names:
        raise ValueError(
            "ram is that of TFLite files, whose arena is planned; ONNX files have memory"
        )


def limits_of(asked: Mapping[str, float | str], given: BenchmarkRow | None) -> list[Limit]:
    """The limits, their shares held against the given model's float file.

    Args:
        asked: By objective, as `LimitsSpec.limits` has them.
        given: That file as it was measured.

    Raises:
        CheckFailed: A limit is a share of what wasn't measured.
    """
    found = []
    for name, most in asked.items():
        number = latency_ms(most) if isinstance(most, str) else float(most)
        if isinstance(most, str) or number > 1:
            found.append(Limit(name, number))
            continue
        full = None if given is None else getattr(given, ROW_FIELDS[name])
        if not full:
            raise CheckFailed(
                f"the {name} of the given model's float file was not measured, so a share of it"
                " can't be kept",
                f"give {_FLAGS[name]} as a number, such as"
                f" {'20ms' if name == 'latency' else '64kB'}",
            )
        found.append(Limit(name, number, float(full)))
    return found


def _up(value: float) -> float:
    """Rounded up to three digits."""
    digits = 2 - math.floor(math.log10(value))
    return math.ceil(value * 10**digits) / 10**digits
