"""The same file on the same samples in every runtime that reads it.

A file that is right in one runtime may be wrong in another, or refused there: kernels differ in
rounding, in what they fuse, and in their faults. Each runtime is held against the file's source, by
the bounds of its precision, and against the first of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
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
from edgepress.deploy.quantize.precision import PRECISIONS, Precision
from edgepress.deploy.verification.bisecting import (
    FLOAT_NOISE,
    INTEGER_NOISE,
    Departure,
    bisect,
)
from edgepress.deploy.verification.judging import judge
from edgepress.deploy.verification.source_outputs import SourceOutputs, gather
from edgepress.deploy.verification.tensor_matching import pair_inputs, pair_outputs
from edgepress.deploy.verification.verifying import coarser, outputs_of, shapes_of

if TYPE_CHECKING:
    import keras

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


# In whose kernels nothing is joined or reordered, or nearly so.
_PLAINEST = {".tflite": "litert-reference", ".onnx": "onnxruntime"}


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
    path = Path(file)
    chosen = choose(path, runtimes)
    asked = _ask(model, path, data, samples, seed, threads)
    found: list[RuntimeAgreement] = []
    first: Outputs = {}
    for name in chosen:
        try:
            with RUNTIMES[name].load(path, threads) as runtime:
                outputs = asked.run(runtime, RUNTIMES[name].raw_names)
                version = runtime.version
        except DeviceError as error:
            reason = error.message.removeprefix(f"'{path.name}': ")
            found.append(RuntimeAgreement(name, reason=reason))
            continue
        first = first or outputs
        apart = max(_apart(outputs[key], value) for key, value in first.items())
        found.append(RuntimeAgreement(name, version, asked.judge(outputs), apart))
    return tuple(found)


@dataclass(frozen=True)
class Bisected:
    """Where a file differs in a runtime.

    Attributes:
        runtime: By name.
        departure: The first operator that differs, or None where none does.
        reason: Why that can't be said: the runtime refuses a part of the file; else empty.
    """

    runtime: str
    departure: Departure | None = None
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON-able values."""
        departure = self.departure.to_json() if self.departure else None
        return {"runtime": self.runtime, "departure": departure, "reason": self.reason}


def find_departures(
    model: Source | ModelLike,
    file: Path | str,
    data: DataLike | None = None,
    *,
    runtimes: Sequence[str] = (ALL,),
    samples: int = 8,
    seed: int = 0,
    keep: Path | None = None,
) -> tuple[Bisected, ...]:
    """The first operator that differs in each runtime from what the plainest one computes.

    That is LiteRT's reference kernels for a `.tflite` file, ONNX Runtime for an `.onnx` file.

    Args:
        model: The source: a Keras model, or what `open_source` takes.
        file: A `.tflite` or `.onnx` file.
        data: Data; without it random inputs.
        runtimes: As `verify_in_runtimes` takes them.
        samples: How many are run.
        seed: Draws the samples.
        keep: A folder, made here, in which each runtime that differs gets one; see `bisect`.

    Returns:
        What was found for each of the others.

    Raises:
        InputError: The file can't be cut, or as `verify_in_runtimes` says.
    """
    path = Path(file)
    plainest = _PLAINEST[path.suffix.lower()]
    asked = _ask(model, path, data, samples, seed, 1)
    given = asked.inputs()
    least = FLOAT_NOISE if asked.bounds.bounded == "largest" else INTEGER_NOISE
    found = []
    for name in choose(path, runtimes):
        if name == plainest:
            continue
        folder = None if keep is None else keep / name
        sides = partial(_loaded, plainest), partial(_loaded, name)
        try:
            at = bisect(*sides, path, given, least, layers=asked.layers, keep=folder)
        except DeviceError as error:
            found.append(Bisected(name, reason=error.message))
            continue
        found.append(Bisected(name, at))
    return tuple(found)


def _loaded(name: str, path: Path) -> Runtime:
    return RUNTIMES[name].load(path, 1)


@dataclass(frozen=True)
class _Asked:
    """A source's answers on samples, and how a file is asked for its own."""

    source: keras.Model
    gathered: SourceOutputs
    tensors: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]
    raw_names: dict[str, str]
    bounds: Precision
    layers: tuple[str, ...]

    def inputs(self) -> Outputs:
        """The samples, by the file's names."""
        pairing = pair_inputs(self.source, self.tensors[0])
        parts = [pairing.apply(chunk) for chunk in self.gathered.feed()]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def run(self, runtime: Runtime, raw_names: bool) -> Outputs:
        """All outputs of a file on the samples, by the names of the signature."""
        tensors = self.raw_names if raw_names else None
        return outputs_of(self.gathered, runtime, self.tensors[0], tensors)

    def judge(self, outputs: Outputs) -> Agreement:
        """How the outputs compare with the source's."""
        got = pair_outputs(self.source, self.gathered.outputs, self.tensors[1], outputs)
        return judge(self.gathered, got, self.bounds)


def _ask(
    model: Source | ModelLike,
    path: Path,
    data: DataLike | None,
    samples: int | None,
    seed: int,
    threads: int,
) -> _Asked:
    from edgepress.compress.data import open_data
    from edgepress.deploy.sources.model_files import open_file
    from edgepress.deploy.sources.opening import open_source
    from edgepress.deploy.sources.source import as_exported, taking

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
    layers = tuple(layer.name for layer in source.model.layers)
    return _Asked(source.model, gathered, tensors, raw, bounds, layers)


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


def _apart(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest difference; infinite where only one of two values is a number."""
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0, np.abs(a - b))
    return float(np.nan_to_num(difference, nan=np.inf, posinf=np.inf).max(initial=0))
