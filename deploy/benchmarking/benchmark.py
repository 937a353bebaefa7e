"""Benchmark artifacts on devices that are given by name."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edgepress.benchmarks.accuracy import Judge
from edgepress.benchmarks.measuring import Candidate, candidates, measure
from edgepress.benchmarks.results import BenchmarkResult, DeviceResult, Failure
from edgepress.benchmarks.statistics.sampling import Plan
from edgepress.benchmarks.target import RunOptions, Target
from edgepress.compress.data.passes import Passes
from edgepress.compress.errors import DeviceError, FileRefused, InputError, Stopped
from edgepress.compress.kernel.artifact import Artifact, TensorSpec
from edgepress.compress.kernel.progress import Progress, Silent
from edgepress.compress.specs.construction import make_spec
from edgepress.compress.specs.signatures import takes_options
from edgepress.deploy.benchmarking.checks import check
from edgepress.deploy.benchmarking.measurable_files import as_measured, named_as_given
from edgepress.deploy.benchmarking.outcomes import outcomes_of
from edgepress.deploy.benchmarking.speed_notes import with_speed_notes
from edgepress.deploy.exporters.tracing import graph_names
from edgepress.deploy.specs.benchmark import BenchmarkSpec
from edgepress.deploy.specs.notation import split_list
from edgepress.deploy.targets import target_for
from edgepress.deploy.targets.local import LocalTarget
from edgepress.deploy.targets.runnable import takes_files, why_not
from edgepress.deploy.verification.known_outputs import recalled
from edgepress.deploy.verification.tensor_matching import output_order

if TYPE_CHECKING:
    from edgepress.compress.data import Dataset
    from edgepress.compress.typing import DataLike
    from edgepress.deploy.sources.source import Source

Array = NDArray[Any]
_JUDGED_AT_ONCE = 512
# Samples by which the outputs of a file are told apart.
_TOLD_APART = 32


@takes_options(BenchmarkSpec)
def benchmark(
    artifacts: Iterable[Artifact | Path | str] | Artifact | Path | str,
    *,
    devices: Sequence[str | Target] | str | None = None,
    spec: BenchmarkSpec | None = None,
    data: DataLike | None = None,
    model: Any = None,
    names: Sequence[str] = (),
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> BenchmarkResult:
    """Measure size, latency, memory and accuracy of artifacts, interleaved, on every device.

    Args:
        artifacts: `.tflite` and `.onnx` files, or what `export` gave; a SavedModel folder is
            measured as the float32 TFLite file that `export` makes of it.
        devices: Names and addresses as `target_for` takes them, or targets.
        spec: The options as a `BenchmarkSpec`; those that are given by name change it.
        data: Data for the accuracy, as `open_data` takes it; measured from the device's outputs.
        model: What the artifacts were made from, as `open_source` takes it: the data is understood
            through it, else through the first artifact.
        names: What each artifact is called in tables, and known by in later benchmarks; its path
            where the text is empty, and for all where there are none.
        seed: Of the order and the bootstrap.
        progress: Told what goes on.
        **options: Fields of `BenchmarkSpec`.

    Returns:
        Rows, comparisons, and what failed. A device or an artifact that fails doesn't take the
        others with it.

    Raises:
        InputError: An artifact is missing or is of no kind that can be run; an option is wrong.
        CheckFailed: A SavedModel can't be converted.
        FileRefused: Nothing could be measured, since runtimes here can't take the files.
        DeviceError: Nothing at all could be measured.
    """
    several = [artifacts] if isinstance(artifacts, Artifact | Path | str) else artifacts
    paths = [Path(a.path if isinstance(a, Artifact) else a) for a in several]
    given = split_list(devices) if isinstance(devices, str) else devices
    given = None if given is None else tuple(given)
    if not paths or given == ():
        raise InputError("nothing to benchmark", "name at least one artifact and device")
    asked = make_spec(BenchmarkSpec, options, base=spec)
    check_names(names, len(paths))
    files = [as_measured(path, progress or Silent()) for path in paths]
    chosen = named_as_given(_candidates(asked, files, names), dict(zip(files, paths, strict=True)))
    targets = [
        d if not isinstance(d, str) else target_for(d, asked.bootstrap)
        for d in (asked.devices if given is None else given)
    ]
    check(asked, files, targets)
    judge = None if data is None else judge_for(*_opened(data, model, paths[0], seed))
    work = _Work(chosen, _plan(asked, seed), asked, judge)
    chosen_files = tuple(dict.fromkeys(c.file for c in chosen))
    result = BenchmarkResult(tuple(_on_all(targets, work, progress or Silent())), chosen_files)
    if not result.measurements:
        failures = result.failures
        kind = FileRefused if all(f.refused for f in failures) else DeviceError
        raise kind(failures[0].reason)
    return with_speed_notes(result)


def _candidates(
    spec: BenchmarkSpec, files: Sequence[Path], names: Sequence[str] = ()
) -> tuple[Candidate, ...]:
    return candidates(files, spec.threads, spec.batch or (None,), spec.run_options(), names)


def _plan(spec: BenchmarkSpec, seed: int) -> Plan:
    return Plan(runs=spec.runs, launches=spec.launches, max_seconds=spec.max_seconds, seed=seed)


def _opened(data: DataLike, model: Any, first: Path, seed: int) -> tuple[Dataset, Source | None]:
    """The data set, understood through the model or, without one, through an artifact.

    Returns:
        It, and what it was understood through; None where it came as a data set alone.
    """
    from edgepress.compress.data import Dataset, open_data
    from edgepress.deploy.sources.opening import open_source
    from edgepress.deploy.sources.source import as_exported, files_data

    if isinstance(data, Dataset) and model is None:
        return data, None
    source = open_source(first if model is None else model)
    if isinstance(data, Dataset):
        return data, as_exported(source)[0]
    return files_data(source, open_data(data, source.model, seed)), as_exported(source)[0]


def benchmark_run(
    files: Sequence[RunFile],
    spec: BenchmarkSpec,
    *,
    data: Dataset | None,
    seed: int,
    progress: Progress,
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Measure the files of a run; what can't be measured is told, not raised.

    Files are sent only to devices that run such files, and those that show what a stage brought
    only to devices that take any file.

    Args:
        files: What to measure.
        spec: How, and on which devices.
        data: Data set for the accuracy, or None.
        seed: Of the order and the bootstrap.
        progress: Told what goes on.

    Returns:
        The `benchmark` document, and what was left out: device, artifact and reason.
    """
    chosen = _candidates(spec, [f.path for f in files])
    targets = [target_for(device, spec.bootstrap) for device in spec.devices]
    reasons = {
        (target.name, file.path): reason
        for target in targets
        for file in files
        if (reason := file.why_not(target))
    }
    judge = None if data is None else judge_for(data)
    work = _Work(chosen, _plan(spec, seed), spec, judge, reasons.keys())
    found = BenchmarkResult(tuple(_on_all(targets, work, progress)))
    left_out = [
        {"device": device, "artifact": str(path), "reason": reason}
        for (device, path), reason in reasons.items()
    ]
    return with_speed_notes(found).to_json(), left_out


@dataclass(frozen=True)
class RunFile:
    """A file of a run that is to be measured.

    Attributes:
        path: The file.
        precision: How it stores numbers.
        shows_stage: Whether it isn't published, but shows what a stage brought.
    """

    path: Path
    precision: str
    shows_stage: bool = False

    def why_not(self, target: Target) -> str:
        """Why it isn't sent to a device; empty where it is."""
        if self.shows_stage and not takes_files(target):
            return f"{target.name} runs the file that its program holds"
        return why_not(target, self.path, self.precision)


@dataclass(frozen=True)
class _Work:
    """What is done on every device."""

    chosen: Sequence[Candidate]
    plan: Plan
    spec: BenchmarkSpec
    judge: Judge | None
    left_out: Collection[tuple[str, Path]] = ()

    def on(self, target: Target, progress: Progress) -> DeviceResult:
        """Measure, then profile what could be measured."""
        chosen = [c for c in self.chosen if (target.name, c.path) not in self.left_out]
        if not chosen:
            return _of_nothing(target)
        progress.stage(f"{len(chosen)} artifacts on {target.name}")
        by = self.judge
        if by is not None and not isinstance(target, LocalTarget):
            by = replace(by, known=None)
        found = measure(
            chosen,
            target,
            self.plan,
            precision=self.spec.precision,
            by=by,
            progress=progress,
        )
        if not self.spec.profile:
            return found
        progress.stage(f"time by operator on {target.name}")
        options: dict[Path, RunOptions] = {}
        for measurement in found.measurements:
            options.setdefault(measurement.path, measurement.options)
        profiles, failures = [], list(found.failures)
        for path, how in options.items():
            try:
                profiles.append(target.profile(path, replace(how, batch=None)).to_json())
            except DeviceError as error:
                refused = isinstance(error, FileRefused)
                failures.append(Failure(target.name, str(path), error.format_message(), refused))
        return replace(found, profiles=tuple(profiles), failures=tuple(failures))


def _on_all(targets: Sequence[Target], work: _Work, progress: Progress) -> list[DeviceResult]:
    """All devices at once, but those that share this machine one after the other."""
    stop, this_machine = threading.Event(), threading.Lock()

    def one(target: Target) -> DeviceResult:
        alone = len(targets) == 1
        watch = progress if alone else _OneOfMany(progress, target.name, stop)
        try:
            with this_machine if target.on_this_machine else nullcontext():
                return work.on(target, watch)
        except DeviceError as error:
            return _unreached(target, error)
        finally:
            target.close()

    if len(targets) == 1:
        return [one(targets[0])]
    with ThreadPoolExecutor(len(targets)) as pool:
        try:
            return list(pool.map(one, targets))
        except BaseException:
            stop.set()  # the others end after their present round, and clean up
            raise


def _unreached(target: Target, error: DeviceError) -> DeviceResult:
    failure = Failure(target.name, "", error.format_message())
    return replace(_of_nothing(target), failures=(failure,))


def _of_nothing(target: Target) -> DeviceResult:
    """A device that measured nothing."""
    url = getattr(target, "url", target.name)
    return DeviceResult(target.name, url, target.timing_valid, None, ())


class _OneOfMany:
    """Progress of one of several devices, and the place where it learns that all should stop."""

    def __init__(self, progress: Progress, device: str, stop: threading.Event) -> None:
        self._progress, self._device, self._stop = progress, device, stop

    def stage(self, text: str) -> None:
        """Tell the stage: it names the device itself."""
        self._progress.stage(text)

    def step(self, done: int, total: int, text: str = "") -> None:
        """Tell the step of this device.

        Raises:
            Stopped: The user stopped the run.
        """
        if self._stop.is_set():
            raise Stopped("the benchmark was stopped")
        self._progress.step(done, total, f"{self._device}: {text}")


def check_names(names: Sequence[str], files: int) -> None:
    """Refuse names that don't tell so many files apart.

    Raises:
        InputError: There are more or fewer of them, or one names two files.
    """
    if names and len(names) != files:
        raise InputError(
            f"there are {len(names)} names for {files} files",
            "give one for each file, in their order",
        )
    given = [name for name in names if name]
    twice = sorted({name for name in given if given.count(name) > 1})
    if twice:
        raise InputError(f"'{twice[0]}' names two files", "give each its own name")


def judge_for(data: Dataset, source: Source | None = None) -> Judge:
    """The accuracy's judge: the data's report split and its task's metric.

    Args:
        data: The data set.
        source: What files are made from: it tells the outputs of a file apart whose names don't.
    """
    split, task = data.report_split, data.task
    passes = Passes(split, _JUDGED_AT_ONCE)
    return Judge(
        task.metric,
        split.name,
        lambda: passes,
        task.score,
        split.size,
        tuple(graph_names(task.output_names)),
        task.higher_is_better,
        lambda outputs, targets: outcomes_of(task, outputs, targets),
        task.figures,
        lambda digest: recalled(split, digest),
        None if source is None else partial(_order, source),
    )


def _order(source: Source, inputs: dict[str, Array], given: Mapping[str, Array]) -> Sequence[str]:
    """Names of a file's outputs in the source's order, by what both give for some samples.

    Returns:
        None of them where the file's outputs aren't those of the source.
    """
    some = {name: values[:_TOLD_APART] for name, values in inputs.items()}
    want = source.run(iter([some]))
    got = {name: values[:_TOLD_APART] for name, values in given.items()}
    specs = [TensorSpec(name, values.shape, str(values.dtype)) for name, values in got.items()]
    try:
        return output_order(source.model, want, specs, got)
    except InputError:
        return ()
