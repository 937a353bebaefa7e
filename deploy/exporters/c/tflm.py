"""What TensorFlow Lite Micro itself makes of a file: whether it runs, its arena, its outputs.

Its kernels are others than LiteRT's: some lack a type that LiteRT's have, and some compute
something else. A file that LiteRT runs proves nothing for a microcontroller.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.runtimes.micro_runtime import micro_runtime
from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.compress.errors import DeviceError
from edgepress.deploy.exporters.exporter import Job, Unsupported
from edgepress.deploy.quantize.precision import PRECISIONS

# Its kernels are plain loops: more samples of a large network would take minutes.
_SAMPLES = 8
_ERRORS = {"largest": "largest difference", "noise": "noise"}

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class MicroTrial:
    """A file that TFLM ran.

    Attributes:
        arena: Bytes of the arena.
        activations: Of those, its head.
        structures: Of those, its tail, an upper bound for a microcontroller: pointers have 64
            bits here.
        samples: Samples on which TFLM gave what LiteRT gave.
        version: Of TFLM.
    """

    arena: int
    activations: int
    structures: int
    samples: int
    version: str


def try_in_micro(job: Job, precision: str, model: Path) -> MicroTrial:
    """Run a file in TFLM and in LiteRT on the same samples.

    Args:
        job: Has the samples.
        precision: Sets how far the two may be apart.
        model: A `.tflite` file.

    Returns:
        What TFLM's own allocator recorded.

    Raises:
        Unsupported: TFLM refuses the file, crashes, or gives something else than LiteRT.
    """
    from edgepress.deploy.differences.difference import ROUNDING_LIMIT, departure

    samples = samples_of(job, _SAMPLES)
    with Runtime(model) as runtime:
        want, tensors = runtime.predict(samples), runtime.describe()
    names = {t["name"]: t["tensor"] for side in ("inputs", "outputs") for t in tensors[side]}
    try:
        with micro_runtime(model, job.worker.timeout) as micro:
            got = micro.predict({names.get(name, name): x for name, x in samples.items()})
            arena, version = micro.ask({"do": "allocations"}), micro.version
    except DeviceError as error:
        reason = error.message.removeprefix(f"'{model.name}': ")
        raise Unsupported(f"TensorFlow Lite Micro can't run it: {reason}") from None
    bounds = PRECISIONS[precision]
    apart = max(departure(got[names[name]], w, bounds) for name, w in want.items())
    if not apart <= max(bounds.tolerance, ROUNDING_LIMIT):
        raise Unsupported(
            f"TensorFlow Lite Micro gives other outputs than LiteRT: {_ERRORS[bounds.bounded]}"
            f" {apart:.3g} of them"
        )
    count = len(next(iter(want.values())))
    return MicroTrial(arena["total"], arena["head"], arena["tail"], count, version)


def samples_of(job: Job, count: int) -> Arrays:
    """A few samples by graph input name: real ones where there are any."""
    with np.load(job.calibration or job.probe) as file:
        return {name: file[name][:count] for name in file.files}
