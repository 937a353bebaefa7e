"""The same file on the same samples in every runtime that reads it.

A file that is right in one runtime may be wrong in another, or refused there: kernels differ in
rounding, in what they fuse, and in their faults. Each runtime is held against the file's source, by
the bounds of its precision, and against the first of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.runtimes.micro_runtime import micro_runtime
from edgepress.benchmarks.runtimes.openvino_runtime import openvino_runtime
from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.compress.errors import DeviceError, InputError
from edgepress.compress.kernel.artifact import Agreement, TensorSpec
from edgepress.compress.kernel.registry import Table
from edgepress.deploy.quantize.precision import PRECISIONS
from edgepress.deploy.verification.judging import judge
from edgepress.deploy.verification.source_outputs import SourceOutputs, gather
from edgepress.deploy.verification.tensor_matching import pair_inputs, pair_outputs
from edgepress.deploy.verification.verifying import coarser, shapes_of

if TYPE_CHECKING:
    from edgepress.compress.keras_types import ModelLike
    from edgepress.compress.typing import DataLike
    from edgepress.deploy.sources.source import Source

ALL = "all"
Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class FileRuntime:
    """A runtime that files can be run in here.

    Attributes:
        suffixes: The files that it reads.
        load: Makes it for a file and a number of threads.
        package: The module that it needs beside what edgepress needs; may be empty.
        extra: The extra of edgepress that brings it.
        raw_names: Whether it calls inputs and outputs by their tensors, not by the signature.
    """

    suffixes: frozenset[str]
    load: Callable[[Path, int], Runtime]
    package: str = ""
    extra: str = ""
    raw_names: bool = False


_TFLITE, _ONNX = frozenset((".tflite",)), frozenset((".onnx",))
RUNTIMES: Table[FileRuntime] = Table(
    "runtime",
    {
        "litert": FileRuntime(_TFLITE, Runtime),
        "litert-builtin": FileRuntime(_TFLITE, lambda p, n: Runtime(p, n, xnnpack=False)),
        "litert-reference": FileRuntime(
            _TFLITE, lambda p, n: Runtime(p, n, options={"reference": True})
        ),
        "onnxruntime": FileRuntime(_ONNX, Runtime),
        "openvino": FileRuntime(_TFLITE | _ONNX, openvino_runtime, "openvino", "openvino"),
        "tflm": FileRuntime(
            _TFLITE, lambda p, _: micro_runtime(p), "tflite_micro", "micro", raw_names=True
        ),
    },
)


@dataclass(frozen=True)
class RuntimeAgreement:
    """How a file in one runtime compares with its source.

    Attributes:
        runtime: By name.
        version: Of the runtime; empty where it didn't run.
        agreement: The comparison, or None where it didn't run.
        from_first: Largest difference from the outputs in the first runtime that ran.
        reason: Why it didn't run: refused, crashed, too slow; empty where it did.
    """

    runtime: str
    version: str = ""
    agreement: Agreement | None = None
    from_first: float | None = None
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether it ran and every bound held."""
        return self.agreement is not None and self.agreement.passed

    def to_json(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {
            "runtime": self.runtime,
            "version": self.version,
            "passed": self.passed,
            "verified": self.agreement.to_json() if self.agreement else None,
            "from_first": self.from_first,
            "reason": self.reason,
        }


def verify_in_runtimes(
    model: Source | ModelLike,
    file: Path | str,
    data: DataLike | None = None,
    *,
    runtimes: Sequence[str] = (ALL,),
    samples: int | None = None,
    seed: int = 0,
    threads: int = 1,
) -> tuple[RuntimeAgreement, ...]:
    """Compare a file in several runtimes with its source, on the same samples.

    Args:
        model: The source: a Keras model, or what `open_source` takes.
        file: A `.tflite` or `.onnx` file.
        data: Data to compare on; without it random inputs.
        runtimes: Names of `RUNTIMES`, or `all` of them that read the file and are installed.
        samples: How many are compared; without data 64 by default, with data all.
        seed: Draws the samples.
        threads: Threads of a runtime, where it has several.

    Returns:
        A comparison for each runtime, in the order of `RUNTIMES`.

    Raises:
        InputError: A runtime is unknown, isn't installed or doesn't read such files.
    """
    from edgepress.compress.data import open_data
    from edgepress.deploy.sources.model_files import open_file
    from edgepress.deploy.sources.opening import open_source
    from edgepress.deploy.sources.source import as_exported, taking

    path = Path(file)
    chosen = choose(path, runtimes)
    given = open_source(model)
    source, _ = as_exported(given)
    opened = open_file(path)
    dataset = None if data is None else source.fed(open_data(data, given.model, seed))
    with opened.runtime(threads) as runtime:
        tensors, raw = runtime.tensors(), _raw_names(runtime)
    source, dataset = taking(source, dataset, tensors[0])
    shapes = shapes_of(source.model, tensors[0])
    gathered = gather(source.model, dataset, samples, seed, shapes, source.run)
    bounds = PRECISIONS[coarser(opened.precision, source.precision)]
    found: list[RuntimeAgreement] = []
    first: Outputs = {}
    for name in chosen:
        try:
            with RUNTIMES[name].load(path, threads) as runtime:
                named = raw if RUNTIMES[name].raw_names else {}
                outputs = _run(gathered, runtime, tensors[0], named)
                version = runtime.version
        except DeviceError as error:
            reason = error.message.removeprefix(f"'{path.name}': ")
            found.append(RuntimeAgreement(name, reason=reason))
            continue
        first = first or outputs
        got = pair_outputs(source.model, gathered.outputs, tensors[1], outputs)
        apart = max(_apart(outputs[key], value) for key, value in first.items())
        found.append(RuntimeAgreement(name, version, judge(gathered, got, bounds), apart))
    return tuple(found)


def choose(path: Path, names: Sequence[str]) -> list[str]:
    """The runtimes that were asked for, in the order of the table.

    Raises:
        InputError: One is unknown, isn't installed or doesn't read the file.
    """
    suffix = path.suffix.lower()
    readers = [name for name in RUNTIMES if suffix in RUNTIMES[name].suffixes]
    if not readers:
        raise InputError(
            f"'{path}' is read by no runtime that --runtimes knows",
            "give a .tflite or .onnx file",
        )
    for name in names:
        if name == ALL:
            continue
        entry = RUNTIMES[name]
        if name not in readers:
            raise InputError(
                f"{name} does not read '{path.name}'", f"those that do: {', '.join(readers)}"
            )
        if not _is_here(entry):
            raise InputError(f"{name} is not installed", f"pip install 'edgepress[{entry.extra}]'")
    if ALL in names:
        return [name for name in readers if _is_here(RUNTIMES[name])]
    return [name for name in readers if name in names]


def absent(path: Path) -> Iterator[str]:
    """The runtimes that read such a file and aren't installed here."""
    for name in RUNTIMES:
        if path.suffix.lower() in RUNTIMES[name].suffixes and not _is_here(RUNTIMES[name]):
            yield name


def _is_here(entry: FileRuntime) -> bool:
    return not entry.package or find_spec(entry.package) is not None


def _raw_names(runtime: Runtime) -> dict[str, str]:
    """The tensors behind the names of the signature."""
    described = runtime.describe()
    return {t["name"]: t["tensor"] for side in ("inputs", "outputs") for t in described[side]}


def _run(
    source: SourceOutputs,
    runtime: Runtime,
    inputs: tuple[TensorSpec, ...],
    named: dict[str, str],
) -> Outputs:
    """All outputs on the source's samples, by the names of the signature."""
    pairing = pair_inputs(source.model, inputs)
    back = {tensor: name for name, tensor in named.items()}
    parts = [
        runtime.predict({named.get(k, k): x for k, x in pairing.apply(chunk).items()})
        for chunk in source.feed()
    ]
    return {back.get(key, key): np.concatenate([p[key] for p in parts]) for key in parts[0]}


def _apart(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest difference; infinite where only one of two values is a number."""
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0, np.abs(a - b))
    return float(np.nan_to_num(difference, nan=np.inf, posinf=np.inf).max(initial=0))
