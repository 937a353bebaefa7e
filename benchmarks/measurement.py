"""Figures that carry how they were got: none can be built without its number, unit and method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.runtimes.host_info import read_environment

Unit = Literal["ns", "cycles"]

# What of a machine's state may change while it measures.
_CHANGING = (
    "load", "frequency_mhz", "temperature_c", "steal_ticks", "throttled", "throttle_events",
    "cooling_state",
)  # fmt: skip


@dataclass(frozen=True)
class Samples:
    """Raw values of one quantity, taken one after the other.

    Attributes:
        quantity: What was measured ("latency").
        unit: Unit of the values.
        method: How, in words ("wall clock of Interpreter.invoke").
        values: The raw values, in the order in which they were taken; none is left out.
        warmup: Values taken before, which belong to no statistic.
        energy_uj: Microjoules of one inference, the mean over all of them and those that warmed
            up, where the device counts energy.
    """

    quantity: str
    unit: Unit
    method: str
    values: tuple[float, ...]
    warmup: tuple[float, ...] = ()
    energy_uj: float | None = None

    def __post_init__(self) -> None:
        if not (self.quantity and self.unit and self.method):
            raise ValueError("samples need a quantity, a unit and a method")
        if not self.values:
            raise ValueError(f"samples of {self.quantity} need at least one value")
        if not all(np.isfinite(v) and v >= 0 for v in self.values):
            raise ValueError(f"samples of {self.quantity} must be finite and not negative")

    @property
    def n(self) -> int:
        """How many values there are."""
        return len(self.values)

    @property
    def median(self) -> float:
        """Their median, in `unit`."""
        return float(np.median(self.values))


@dataclass(frozen=True)
class Series:
    """All samples of one artifact on one target: rounds within launches of a fresh process.

    Attributes:
        launches: For each launch its rounds; rounds of the same position in two series that were
            sampled together were taken one right after the other.
    """

    launches: tuple[tuple[Samples, ...], ...]

    def __post_init__(self) -> None:
        if not self.launches or not all(self.launches):
            raise ValueError("a series needs at least one round in each launch")
        kinds = {(s.quantity, s.unit, s.method) for rounds in self.launches for s in rounds}
        if len(kinds) > 1:
            raise ValueError("a series can't mix quantities, units or methods")

    @property
    def first(self) -> Samples:
        """The first round: it carries the unit and the method of all."""
        return self.launches[0][0]

    @property
    def values(self) -> NDArray[np.float64]:
        """All values, in order."""
        return np.array([v for rounds in self.launches for s in rounds for v in s.values])

    @property
    def energy_mj(self) -> float | None:
        """Millijoules of one inference over the rounds; None where no counter moved in them."""
        counted = [s for rounds in self.launches for s in rounds if s.energy_uj is not None]
        used = sum(s.n * (s.energy_uj or 0.0) for s in counted)
        return used / sum(s.n for s in counted) / 1e3 if used > 0 else None


@dataclass(frozen=True)
class SessionFacts:
    """What one loaded artifact tells beside its latency; None where the device can't say.

    Attributes:
        runtime: Runtime and version.
        load_ms: From the file to a planned model.
        peak_memory_bytes: Growth of the process's resident peak over that right after the
            imports.
        resident_bytes: Resident size of the process after loading and a first inference.
        arena_bytes: Memory for activations.
        providers: ONNX Runtime's execution providers that it used.
        cpus: Cores that it was allowed to use.
        notes: Remarks, one line each.
    """

    runtime: str
    load_ms: float | None = None
    peak_memory_bytes: int | None = None
    resident_bytes: int | None = None
    arena_bytes: int | None = None
    providers: tuple[str, ...] = ()
    cpus: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Environment:
    """The state of a machine before and after a measurement, as `host.read_environment` tells."""

    before: dict[str, Any]
    after: dict[str, Any]

    @classmethod
    def here(cls, before: dict[str, Any]) -> Environment:
        """The local machine, read before and now."""
        return cls(before, read_environment())

    def warnings(self) -> tuple[str, ...]:
        """What about the machine makes the figures doubtful, one line each."""
        found = []
        cores, load = self.before.get("cores") or 1, (self.before.get("load") or [0.0])[0]
        if load > 0.5 * cores:
            found.append(f"the machine was busy: load {load:.1f} on {cores} cores before the run")
        if (steal := self._growth("steal_ticks")) > 10:
            found.append(f"CPU steal time of {steal * 10:.0f} ms during the run")
        if self._growth("frequency_mhz") < -0.05 * (self.before.get("frequency_mhz") or 0.0):
            found.append("the processor's frequency fell during the run (throttling?)")
        if (self.after.get("throttled") or "0x0").split("=")[-1] not in ("0x0", "0"):
            found.append(f"the board reports throttling: {self.after['throttled']}")
        if (events := self._growth("throttle_events")) > 0:
            found.append(f"the processor throttled itself {events:.0f} times during the run")
        if (state := self.after.get("cooling_state") or 0) > 0:
            found.append(f"thermal throttling (cooling state {state})")
        if (self.after.get("temperature_c") or 0.0) > 80:
            found.append(f"the processor is at {self.after['temperature_c']:.0f} °C")
        if self.before.get("governor") in ("powersave", "conservative"):
            found.append(f"the frequency governor is '{self.before['governor']}'")
        return tuple(found)

    def _growth(self, field: str) -> float:
        before, after = self.before.get(field), self.after.get(field)
        return 0.0 if before is None or after is None else float(after - before)

    def to_json(self) -> dict[str, Any]:
        """The state before, what changes after, and the warnings."""
        after = {name: self.after.get(name) for name in _CHANGING}
        return {**self.before, "after": after, "warnings": list(self.warnings())}
