"""Times of single layers on a device, measured once and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from edgepress.benchmarks.statistics.sampling import Entrant, Plan, Record, sample
from edgepress.benchmarks.target import Job, RunOptions, Target
from edgepress.benchmarks.tflite.layer_file import write_layer
from edgepress.benchmarks.tflite.tiny_model import write_tiny_model
from edgepress.compress.errors import DeviceError, InputError
from edgepress.compress.kernel.files import content_key, read_json, write_json
from edgepress.compress.kernel.progress import Progress
from edgepress.compress.processes.scratch import scratch_folder
from edgepress.compress.structure.budgets.layer_size import LayerSize

# Layers measured at one time, each in a process of its own, in turns.
_AT_ONCE = 8
_PLAN = Plan(runs=60, launches=1, rounds=6, max_seconds=8.0)
_TIMES = TypeAdapter(dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]])
# What of the environment tells one machine from another: not what changes from hour to hour.
_MACHINE = ("machine", "processor", "cores", "system")


@dataclass(frozen=True)
class LayerClock:
    """Measures layers on a device, and remembers.

    Attributes:
        target: The device.
        options: How layers are run.
        folder: Where times are kept.
        progress: Told of each batch of layers.
    """

    target: Target
    options: RunOptions
    folder: Path
    progress: Progress

    def times(self, sizes: Sequence[LayerSize]) -> Mapping[LayerSize, float]:
        """Milliseconds of layers, without what any file takes; those known are not measured again.

        Args:
            sizes: Their sizes.

        Raises:
            DeviceError: The device can't be reached, or can't run a layer.
        """
        path, empty = self._place()
        known = _known(path)
        missing = [s for s in dict.fromkeys(sizes) if s.signature not in known]
        if missing:
            self.progress.stage(f"measure {len(missing)} layers on {self.target.name}")
        for begin in range(0, len(missing), _AT_ONCE):
            part = missing[begin : begin + _AT_ONCE]
            for size, value in zip(part, self._measured(part), strict=True):
                known[size.signature] = max(value - empty, 1e-6)
            # After each batch: a long series that is stopped goes on from there.
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {**self._labels(), "ms": known})
            self.progress.step(min(begin + _AT_ONCE, len(missing)), len(missing), "layers")
        return {size: known[size.signature] for size in sizes}

    def _labels(self) -> dict[str, Any]:
        return {"device": self.target.name, "threads": self.options.threads}

    def _place(self) -> tuple[Path, float]:
        """The file of this device, runtime and number of threads; and what an empty model takes."""
        environment = self.target.environment()
        with scratch_folder() as folder:
            tiny = write_tiny_model(folder / "tiny.tflite")
            with self.target.open(tiny, self.options) as session:
                empty = session.run(Job(50, discard=10)).median / 1e6
                runtime = session.facts().runtime
        machine = [environment.get(name) for name in _MACHINE]
        where = getattr(self.target, "url", self.target.name)
        key = content_key(where, machine, runtime, self.options.threads)
        return self.folder / f"{key[:24]}.json", empty

    def _measured(self, sizes: Sequence[LayerSize]) -> list[float]:
        """Milliseconds of some layers, measured in turns: for each its quietest round."""
        with scratch_folder() as folder:
            paths = [write_layer(s, folder / f"{n}.tflite") for n, s in enumerate(sizes)]
            entrants = [Entrant(str(p), partial(self.target.open, p, self.options)) for p in paths]
            records = sample(entrants, _PLAN)
        return [_quietest(size, record) for size, record in zip(sizes, records, strict=True)]


def _known(path: Path) -> dict[str, float]:
    """Milliseconds that were kept, by layer; none where the file is damaged or was edited."""
    with suppress(InputError, ValidationError):
        record = read_json(path) if path.exists() else None
        if isinstance(record, dict):
            return _TIMES.validate_python(record.get("ms"))
    return {}


def _quietest(size: LayerSize, record: Record) -> float:
    rounds = [samples for launch in record.launches for samples in launch]
    if record.failure or not rounds:
        raise DeviceError(f"layer {size.signature}: {record.failure or 'nothing was measured'}")
    return float(np.min([samples.median for samples in rounds])) / 1e6
