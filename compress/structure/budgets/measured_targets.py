"""Targets that only a file or a device shows: bytes, arena, milliseconds.

An estimate that is cheap enough for thousands of looks leads the allocation; then the pruned model
is built, written and measured, the estimate is corrected by what it was off, and the plan is made
again until the measured value holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.context import Instruments as Instruments
from edgepress.compress.specs.amounts import latency_ms, limit_of
from edgepress.compress.specs.prune_step import TARGETS, PruneSpec
from edgepress.compress.specs.pruning import ChannelsSpec
from edgepress.compress.specs.pruning_result import Measured
from edgepress.compress.structure.budgets.activation_memory import live_bytes, peak_bytes
from edgepress.compress.structure.budgets.budget import Counts
from edgepress.compress.structure.budgets.latency_model import LayerTimes
from edgepress.compress.structure.surgery.surgery import remove
from edgepress.compress.structure.tracing.groups import Alive, Channels

# What one weight takes in a file.
_WEIGHT_BYTES = {"float32": 4, "float16": 2, "dynamic": 1, "int8": 1, "int16x8": 1}


@dataclass(eq=False)
class Gauge:
    """One quantity: estimated often, measured now and then.

    Attributes:
        what: "size", "arena" or "latency".
        unit: "bytes" or "ms".
        full: Measured value of the model as it is.
        limit: How much may stay, in `unit`; None where the target is another.
        estimate: From units to the expected value.
        measure: From a model to the real value.
        whole: The estimate for the model as it is.
        slope: What really goes for each that the estimate says goes.
        near: From units to a value in proportion to the real one, where there is such an estimate:
            it tells close choices apart, and leads nowhere by itself.
    """

    what: str
    unit: str
    full: float
    limit: float | None
    estimate: Callable[[Alive], float]
    measure: Callable[[Any], float]
    whole: float
    slope: float = 1.0
    near: Callable[[Alive], float] | None = None

    def count(self, alive: Alive) -> float:
        """The corrected estimate: right for the whole model, and for the last one measured."""
        return self.full - self.slope * (self.whole - self.estimate(alive))

    def correct(self, alive: Alive, value: float, margin: float) -> None:
        """Learn from a measured value how fast the quantity really falls."""
        fallen = self.whole - self.estimate(alive)
        if fallen > 0:
            self.slope = max((self.full - value) / fallen / margin, 1e-3 * self.full / self.whole)


@dataclass(eq=False)
class Metering:
    """What is measured while a plan is made.

    Attributes:
        channels: The model's units.
        target: The quantity that the plan aims at; None where it aims at another kind.
        latency: The device's, where one was named; may be the target itself.
        times: Predicted latency in parts, where a device was named.
        device: Its name.
        accounts: What came of it; empty before the plan is made.
        notes: What is to be said about it.
        seen: Measured values by quantity and choice of units.
    """

    channels: Channels
    target: Gauge | None
    latency: Gauge | None = None
    times: LayerTimes | None = None
    device: str | None = None
    accounts: tuple[Measured, ...] = ()
    notes: tuple[str, ...] = ()
    seen: dict[tuple[str, bytes], float] = field(default_factory=dict)

    def measured(self, gauge: Gauge, alive: Alive) -> float:
        """The real value with the units that are alive: the model is built, written, measured."""
        key = gauge.what, np.packbits(alive).tobytes()
        if key not in self.seen:
            self.seen[key] = gauge.measure(remove(self.channels, alive).model)
        return self.seen[key]

    def settle(self, alive: Alive, plain: Alive | None, macs: Callable[[Alive], int]) -> None:
        """Write the accounts of a choice, beside one of plainly rounded widths."""
        gauges = dict.fromkeys(g for g in (self.target, self.latency) if g is not None)
        self.accounts = tuple(self._account(g, alive, plain, macs) for g in gauges)

    def _account(
        self, gauge: Gauge, alive: Alive, plain: Alive | None, macs: Callable[[Alive], int]
    ) -> Measured:
        beside = plain if gauge is self.latency else None
        return Measured(
            gauge.what,
            gauge.unit,
            before=gauge.full,
            after=self.measured(gauge, alive),
            predicted=gauge.count(alive),
            limit=gauge.limit,
            device=self.device if gauge is self.latency else None,
            plain_predicted=None if beside is None else gauge.count(beside),
            plain_macs=None if beside is None else macs(beside),
        )


class Budget(Counts):
    """What a model costs when units are removed: counted, and measured where that is asked for.

    Args:
        channels: The model's units.

    Attributes:
        metering: What must be measured, where the target or a device asks for it.
    """

    def __init__(self, channels: Channels) -> None:
        super().__init__(channels)
        self.metering: Metering | None = None


def budget_for(channels: Channels, spec: ChannelsSpec, instruments: Instruments | None) -> Budget:
    """A budget that can count what a spec aims at.

    Args:
        channels: The model's units.
        spec: Names the target and the device.
        instruments: Measures files and devices; None where there is nothing that could.

    Raises:
        InputError: The target needs measuring, and nothing here can measure.
    """
    budget = Budget(channels)
    name = measured_target(spec)
    if name is None and spec.device is None:
        return budget
    if instruments is None:
        raise InputError(
            f"{f'target_{name}' if name else 'device'} is measured on files, which compress.prune"
            " doesn't write",
            "use edgepress.deploy.prune, the command prune or a recipe",
        )
    latency = times = None
    if spec.device is not None:
        full = instruments.latency(channels.model)
        times = LayerTimes(channels, budget, instruments.layer_times, full, spec.multiple)
        limit = latency_limit(spec, full) if name == "latency" else None
        latency = Gauge("latency", "ms", full, limit, times, instruments.latency, full)
    target = latency if name == "latency" else None
    if name in ("size", "arena"):
        target = _file_gauge(channels, spec, instruments, budget)
    budget.metering = Metering(channels, target, latency, times, spec.device)
    return budget


def measured_target(spec: PruneSpec) -> str | None:
    """ "size", "arena" or "latency" where a spec aims at it."""
    name, _ = spec.target() or ("", None)
    return name.removeprefix("target_") if name in TARGETS[3:] else None


def _file_gauge(
    channels: Channels, spec: ChannelsSpec, tools: Instruments, budget: Budget
) -> Gauge:
    """A quantity that a file alone shows."""
    everything = channels.all_alive()
    if spec.target_size is not None:
        full = tools.size(channels.model)
        each = _WEIGHT_BYTES[spec.target_precision]
        fixed = full - each * budget.params(everything)
        limit = limit_of(spec.target_size, full)
        return Gauge(
            "size",
            "bytes",
            full,
            limit,
            lambda alive: fixed + each * budget.params(alive),
            tools.size,
            full,
        )
    assert spec.target_arena is not None
    full, estimate = tools.arena(channels.model), live_bytes(channels)
    limit = limit_of(spec.target_arena, full)
    whole = max(estimate(everything), 1.0)
    near = peak_bytes(channels)
    return Gauge("arena", "bytes", full, limit, estimate, tools.arena, whole, full / whole, near)


def latency_limit(spec: ChannelsSpec, full: float) -> float:
    """Milliseconds that a spec allows."""
    given = spec.target_latency
    return given * full if isinstance(given, float) else latency_ms(str(given))
