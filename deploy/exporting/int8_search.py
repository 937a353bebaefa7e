"""What an int8 file is made with: ranges, equalised channels and corrected biases, where they help.

Each choice is tried on the calibration samples: a file is written and compared with the float file
of the same format, and what makes the least noise is kept. The test data is never looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.compress.errors import EdgepressError
from edgepress.deploy.differences.difference import departure
from edgepress.deploy.differences.slices import small_slices
from edgepress.deploy.exporters import Exporter, Job
from edgepress.deploy.lowerings.recurrent import flat_layers
from edgepress.deploy.quantize.precision import METHODS, PRECISIONS
from edgepress.deploy.verification.decisions import agreement_of, decision_of
from edgepress.deploy.verification.tensor_matching import pair_inputs

# In depthwise networks up to this size the trials take seconds.
_CHEAP_PARAMS = 2_000_000
_METHODS = {
    "tflite": [m for m in METHODS if m != "auto"],
    "onnx": [m for m in METHODS if m not in ("auto", "mse")],
}
# Min-max lets one far value take levels from all others; ONNX Runtime's percentile, though, keeps
# the activations of all samples in memory.
_DEFAULTS = {"tflite": "percentile", "onnx": "min-max"}

Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Choice:
    """What an int8 file is made from, and how it was found.

    Attributes:
        job: The job, with the model and the calibration method that make the least noise.
        notes: A line for each trial.
    """

    job: Job
    notes: tuple[str, ...] = ()


def choose(job: Job, format: str, exporter: Exporter, names: Sequence[str]) -> Choice:
    """Find what makes the best int8 file of a format.

    Args:
        job: The model, its calibration samples and what may be tried (`ExportSpec`).
        format: "tflite" or "onnx".
        exporter: Writes its files.
        names: Names of the calibration samples, in the order of the model's inputs.

    Returns:
        The choice; without notes where there is nothing to choose.
    """
    if job.calibration is None or job.carries_ranges:
        return Choice(job)
    method = job.settings.calibration_method or _DEFAULTS[format]
    methods = _METHODS[format] if method == "auto" else [method]
    changes = list(_changes(job))
    if len(methods) == 1 and not changes:
        return Choice(job.with_method(method))
    trials = _Trials(job, format, exporter, names)
    for name in methods:
        trials.attempt(f"ranges by {name}", job.with_method(name))
    if not trials.done:  # writing the file itself says why
        return Choice(job.with_method(methods[0]))
    for name, change in changes:
        trials.run_changed(name, change)
    return Choice(trials.best.job, tuple(trials.notes()))


Change = Callable[[Any, Sequence[NDArray[Any]]], Any]


def _changes(job: Job) -> Iterator[tuple[str, Change]]:
    """Changes of the model that are to be tried."""
    from edgepress.deploy.quantize.bias_correction import bias_corrected
    from edgepress.deploy.quantize.equalization import RULES, equalized

    wanted = job.settings
    if _tried(job, wanted.equalize):
        for rule in RULES:
            yield f"equalised by {rule}", partial(equalized, rule=rule)
    if _tried(job, wanted.bias_correction):
        yield "biases corrected", bias_corrected


def _tried(job: Job, wanted: bool | None) -> bool:
    from edgepress.compress.weights.clusters.shared_values import shared_values
    from edgepress.compress.weights.masks.prunable import find_kernels

    if wanted is not None:
        return wanted
    kinds = {type(layer).__name__ for layer in flat_layers(job.model)}
    depthwise = {"DepthwiseConv2D", "SeparableConv2D"} & kinds
    cheap = bool(depthwise) and job.model.count_params() <= _CHEAP_PARAMS
    # Both put factors into the kernels, in which shared values aren't shared any more.
    return cheap and not shared_values(find_kernels(job.model, depthwise=True)[0])


@dataclass(frozen=True)
class _Trial:
    """One file and how far it is from the float file on the calibration samples."""

    name: str
    job: Job
    noise: float
    agreement: float
    kept: bool


@dataclass
class _Trials:
    """All that was tried for one format."""

    job: Job
    format: str
    exporter: Exporter
    names: Sequence[str]
    done: list[_Trial] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def best(self) -> _Trial:
        """The trial with the least noise, the first of several."""
        return min(self.done, key=lambda trial: trial.noise)

    def run(self, name: str, job: Job) -> None:
        """Write the file that a job gives and compare it.

        Raises:
            EdgepressError: There is no such file.
        """
        path = job.scratch / f"trial_{len(self.done)}{self.exporter.suffix}"
        self.exporter.write(job, "int8", path)
        got = self._outputs(path)
        path.unlink()
        noise, agreement = _noise(got, self._float), _agreement(got, self._float)
        better = not self.done or noise < self.best.noise
        self.done.append(_Trial(name, job, noise, agreement, better))

    def run_changed(self, name: str, change: Change) -> None:
        """Change the best model so far, where it can be changed, and compare."""
        job = self.best.job
        try:
            model = change(job.model, self._ordered)
            if model is not None:
                self.run(name, job.with_model(model, f"{self.format}-{len(self.done)}"))
        except Exception as error:  # a model that can't be rebuilt still has its plain file
            self._failed(name, getattr(error, "message", error))

    def attempt(self, name: str, job: Job) -> None:
        """As `run`; where there is no such file, that is noted."""
        try:
            self.run(name, job)
        except EdgepressError as error:
            self._failed(name, error.message)

    def _failed(self, name: str, why: object) -> None:
        reason = " ".join(str(why).split())[:200]
        self.failures.append(f"{self.format} int8, {name}: can't be tried: {reason}")

    def notes(self) -> Iterator[str]:
        """A line for each trial."""
        for trial in self.done:
            best = trial is self.best or (trial.kept and trial.name.split()[0] != "ranges")
            yield (
                f"{self.format} int8, {trial.name}: noise {trial.noise:.4f}, agreement"
                f" {trial.agreement:.4f} on {len(self._ordered[0])} calibration samples"
                + (" (kept)" if best else "")
            )
        yield from self.failures

    @cached_property
    def _ordered(self) -> list[NDArray[Any]]:
        """The calibration samples in the order of the model's inputs."""
        with np.load(str(self.job.calibration)) as file:
            return [file[name] for name in self.names]

    @cached_property
    def _float(self) -> Outputs:
        """What the float file gives."""
        write = partial(self.exporter.write, self.job, "float32")
        return self._outputs(self.job.made_once(f"float32{self.exporter.suffix}", write))

    def _outputs(self, path: Path) -> Outputs:
        with Runtime(path) as runtime:
            inputs, _ = runtime.tensors()
            pairing = pair_inputs(self.job.model, inputs)
            names = [tensor.name for tensor in self.job.model.inputs]
            return runtime.predict(pairing.apply(dict(zip(names, self._ordered, strict=True))))


def _noise(got: Outputs, want: Outputs) -> float:
    """The noise that a verdict bounds, of the worst output."""
    return max(departure(got[name], real, PRECISIONS["int8"]) for name, real in want.items())


def _agreement(got: Outputs, want: Outputs) -> float:
    """The agreement that a verdict without data tells, of the worst output."""
    found = []
    for name, real in want.items():
        exact, slices = real.astype(np.float64), small_slices(real.astype(np.float64))
        decision = decision_of(None, real)
        found.append(agreement_of(decision, got[name].astype(np.float64), exact, slices)[0])
    return min(found)
