"""Exporting: every format and precision that exists, each file proved before it is kept."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.benchmarks.tflite.select_operators import tensorflow_kernels, why_unverified
from edgepress.compress.errors import DeviceError, EdgepressError, InputError
from edgepress.compress.kernel.artifact import Agreement, Artifact, TensorSpec
from edgepress.compress.kernel.files import (
    atomic_output,
    check_output,
    sha256,
    write_json,
)
from edgepress.compress.kernel.onednn import crash_notes
from edgepress.compress.kernel.progress import Progress, Silent
from edgepress.compress.processes.scratch import scratch_folder
from edgepress.compress.specs.construction import make_spec
from edgepress.compress.specs.signatures import takes_options
from edgepress.deploy.exporters import EXPORTERS, Exporter, Job
from edgepress.deploy.exporters.exporter import Written
from edgepress.deploy.exporters.layer_marks import line_on_layers
from edgepress.deploy.exporters.preflight import Obstacle
from edgepress.deploy.exporting.checks import check
from edgepress.deploy.exporting.float_ends import (
    JOINED,
    loses_slices,
    with_float_end,
)
from edgepress.deploy.exporting.int8_training import parts_of, trained_for_int8, untrained_files
from edgepress.deploy.exporting.naming import name_parts
from edgepress.deploy.exporting.next_steps import ADVISED
from edgepress.deploy.exporting.result import ExportResult, Failed, Skipped
from edgepress.deploy.exporting.size_notes import file_notes, sizes_of
from edgepress.deploy.exporting.sparse_encoding import encode_zeros
from edgepress.deploy.exporting.workspace import converted, prepared
from edgepress.deploy.process.sharing import working
from edgepress.deploy.process.worker import Worker
from edgepress.deploy.quantize import PRECISIONS
from edgepress.deploy.sources.formats.tflite_reading import TFLiteReader
from edgepress.deploy.sources.fronts.beside import write_beside
from edgepress.deploy.sources.model_files import check_runs
from edgepress.deploy.sources.opening import finished_file, open_source
from edgepress.deploy.sources.source import Source, as_exported, carrying_features, keras_source
from edgepress.deploy.specs.export import BOUNDED_FORMATS, TRAINED_FORMATS, ExportSpec
from edgepress.deploy.versions import versions

if TYPE_CHECKING:
    from edgepress.compress.keras_types import ModelLike
    from edgepress.compress.typing import DataLike

PRECISION_BY_DEFAULT = ("float32",)  # what needs no data


@takes_options(ExportSpec, defaults={"quantize": PRECISION_BY_DEFAULT})
def export(
    model: Source | ModelLike,
    out: Path | str,
    formats: Sequence[str] | None = None,
    quantize: Sequence[str] | None = None,
    data: DataLike | None = None,
    io: str | None = None,
    *,
    spec: ExportSpec | None = None,
    timeout: float = 900.0,
    seed: int = 0,
    force: bool = False,
    progress: Progress | None = None,
    worker: Worker | None = None,
    **options: Any,
) -> ExportResult:
    """Write a model as files for devices, each compared with the model before it is kept.

    Args:
        model: A Keras model, or what `open_source` takes: a SavedModel without one is converted, a
            `.tflite` or `.onnx` file is stored in other precisions.
        out: Folder for the files; written whole or not at all.
        data: Data for calibration and for verifying by the task's metric; int8 needs it.
        spec: The options as an `ExportSpec`; those that are given by name change it.
        timeout: Seconds that one conversion may take.
        seed: Draws samples.
        force: Whether an existing folder is replaced.
        progress: Told of each file.
        worker: Where conversions run, for many exports in a row; one for this export by default.
        **options: Fields of `ExportSpec`.

    Returns:
        The files, what was skipped and what failed.

    Raises:
        InputError: A name is unknown, an option has no effect, or int8 is asked for without data.
        FileRefused: The model is a file that its runtime can't load.
    """
    from edgepress.compress.data import open_data
    from edgepress.deploy.targets.devices_file import devices_file

    out = check_output(out, force, folder=True, inputs=(model, data, devices_file()))
    asked = _asked(spec, {"formats": formats, "quantize": quantize, "io": io}, options)
    # A finished file may hold the integers already that data would be needed for.
    opened = isinstance(model, Source) and model.is_finished
    finished = opened or finished_file(model) is not None
    asked = check(asked, has_data=data is not None or finished)
    given = open_source(model)
    source, remarks = as_exported(given)
    asked = check(asked, source, data is not None)
    check_runs(source)
    dataset = None if data is None else source.fed(open_data(data, given.model, seed))
    if dataset is not None:
        dataset.report_split  # noqa: B018  raises before any work where there is none
    described = dataset
    if asked.with_features:
        source, dataset = carrying_features(source, dataset)
    progress = progress or Silent()
    with working(worker, timeout) as worker, scratch_folder() as folder:
        if source.is_keras and (task := EXPORTERS[asked.formats[0]].task):
            worker.begin(task)
        lines = []
        for part, trains in parts_of(asked):
            origin = source
            training_notes: tuple[str, ...] = ()
            if trains:
                assert dataset is not None
                model, training_notes = trained_for_int8(
                    source.model, dataset, asked, seed, progress
                )
                origin = keras_source(model)
            precisions = [q for _, q in part]
            with prepared(origin, dataset, asked, precisions, worker, seed) as job:
                line = _Line(job, origin, dataset, seed, progress)
                line.notes += training_notes
                line.write_all(part, folder)
                line.notes += () if trains else untrained_files(asked, line.artifacts)
                lines.append(line)
        trained = crash_notes() if asked.qat_epochs else ()
        written = (artifact for line in lines for artifact in line.artifacts)
        beside, told = write_beside(source.front, described, folder, written, worker)
        return _publish(lines, (*remarks, *told, *trained), worker, out, force, beside)


def _asked(
    spec: ExportSpec | None, named: Mapping[str, Any], options: Mapping[str, Any]
) -> ExportSpec:
    """What is asked for: a specification, changed by what is given by name."""
    changes = {
        name: value if isinstance(value, str) else tuple(value)
        for name, value in named.items()
        if value is not None
    } | dict(options)
    if spec is None:
        changes.setdefault("quantize", PRECISION_BY_DEFAULT)
    return make_spec(ExportSpec, changes, base=spec)


def convert(
    model: Source | ModelLike,
    out: Path,
    format: str = "tflite",
    precision: str = "float32",
    worker: Worker | None = None,
) -> str:
    """Write one file without verifying it, such as the float file that a stage is measured by.

    Args:
        model: A Keras model.
        out: The file.
        format: Name in `EXPORTERS`.
        precision: Name in `PRECISIONS` that needs no calibration.
        worker: Where the conversion runs; one of its own by default.

    Returns:
        Why there is no such file; empty where there is.
    """
    try:
        with converted(model, out, format, precision, worker):
            return ""
    except EdgepressError as error:
        return error.format_message()


@dataclass
class _Line:
    """One export while it runs."""

    job: Job
    origin: Source
    dataset: Any
    seed: int
    progress: Progress

    def __post_init__(self) -> None:
        self.artifacts: list[Artifact] = []
        self.skipped: list[Skipped] = []
        self.failed: list[Failed] = []
        self.files: list[Path] = []
        self.obstacles: tuple[Obstacle, ...] = ()
        self._chosen: dict[str, Job] = {}
        self.notes: list[str] = [] if self.origin.is_keras else list(self.origin.notes)

    @cached_property
    def source(self) -> Any:
        """What the model itself gives, computed once."""
        from edgepress.deploy.verification.source_outputs import gather

        asked, run = self.job.settings, self.origin.run
        samples, shapes = asked.verify_samples, asked.shapes
        return gather(self.job.model, self.dataset, samples, self.seed, shapes, run)

    @cached_property
    def fingerprint(self) -> str:
        """The model's identity."""
        return self.origin.identify()

    def write_all(self, pairs: Sequence[tuple[str, str]], folder: Path) -> None:
        """Write and verify each format and precision into a folder."""
        self.obstacles = self.origin.obstacles(self.job, [name for name, _ in pairs])
        for done, (name, precision) in enumerate(pairs):
            self.progress.step(done, len(pairs), f"{name} {precision}")
            self._one(name, self.origin.exporters[name], precision, folder)
        self.progress.step(len(pairs), len(pairs))

    def _one(self, name: str, exporter: Exporter, precision: str, folder: Path) -> None:
        refusal = exporter.refusal(name, precision, self.job.settings.io)
        refusal = refusal or next(
            (o.reason for o in self.obstacles if o.concerns(name, precision)), ""
        )
        if refusal:
            self.skipped.append(Skipped(name, precision, refusal))
            return
        path = folder / f"model_{precision}{exporter.suffix}"
        try:
            written = exporter.write(self._job_for(name, precision), precision, path)
        except EdgepressError as error:
            reason = error.message if isinstance(error, DeviceError) else error.format_message()
            self.skipped.append(Skipped(name, precision, reason))
            return
        own_kernels = self.job.settings.select_ops and self._is_converted(name)
        if own_kernels and (kernels := tensorflow_kernels(path)):
            self._take(self._unverified(precision, path), written)
            self.notes.append(why_unverified(path, kernels))
            return
        asked = tuple(self.job.settings.changed(*ADVISED))
        try:
            artifact = self._verified(name, precision, path, written.runnable)
            if precision in JOINED and loses_slices(artifact.verified):
                artifact, float_artifact = with_float_end(
                    self._job_for(name, precision),
                    artifact,
                    lambda job: exporter.write(job, precision, path),
                    lambda made: self._verified(name, precision, path, made.runnable),
                )
                written = float_artifact or written
            if self._is_converted(name):
                artifact = self._encoded(artifact)
        except (DeviceError, InputError) as error:
            self.failed.append(Failed(name, precision, error.format_message(), None, asked))
            return
        bounded = self.job.settings.int8_max_drop is not None
        if bounded and precision == "int8" and name in BOUNDED_FORMATS:
            artifact = self._mixed(artifact)
        agreement = artifact.verified
        if agreement is not None and not agreement.passed:
            self.failed.append(Failed(name, precision, agreement.reason, agreement, asked))
            return
        self._take(artifact, written)

    def _take(self, artifact: Artifact, written: Written) -> None:
        """Count a file among those that are published."""
        # A search of the layers that stay in floats may have written the file again.
        layers = artifact.layers or dict(written.layers)
        kept = replace(artifact, layers=layers, arena_bytes=written.arena_bytes)
        if written.stored is not None:
            kept = replace(kept, **sizes_of(written.stored))
        self.artifacts.append(replace(kept, versions={**kept.versions, **written.versions}))
        self.files += [artifact.path, *written.beside]
        notes = (*written.notes, *line_on_layers(layers))
        self.notes += [f"{artifact.path.name}: {note}" for note in notes]

    def _unverified(self, precision: str, path: Path) -> Artifact:
        """A file that no runtime here can run."""
        self._name("tflite", path, precision)
        tensors = TFLiteReader(path).signature()
        return self._artifact("tflite", precision, path, path, tensors.inputs, tensors.outputs)

    def _is_converted(self, name: str) -> bool:
        """Whether a format's files are TFLite files that the converter made."""
        return name == "tflite" and not self.origin.is_finished

    def _job_for(self, name: str, precision: str) -> Job:
        """The job; for int8 the one that its trials on the calibration samples chose."""
        from edgepress.deploy.exporting.int8_search import choose

        kind = "tflite" if name in TRAINED_FORMATS else name
        if precision != "int8" or kind not in self.origin.exporters:
            return self.job
        if kind not in self._chosen:
            exporter = self.origin.exporters[kind]
            choice = choose(self.job, kind, exporter, self.origin.input_names)
            self._chosen[kind] = choice.job
            self.notes += choice.notes
        return self._chosen[kind]

    def _mixed(self, artifact: Artifact) -> Artifact:
        from edgepress.deploy.exporting.mixed_precision import keep_floor

        kept, notes = keep_floor(
            self._job_for(artifact.format, "int8"),
            artifact,
            lambda path: self._verified(artifact.format, "int8", path, path),
            self.job.settings.int8_max_drop or 0.0,
        )
        self.notes += notes
        return kept

    def _encoded(self, artifact: Artifact) -> Artifact:
        def verify(path: Path) -> Artifact:
            return self._verified("tflite", artifact.quantize, path, path)

        kept, notes = encode_zeros(self.job, artifact, verify)
        self.notes += notes
        return kept

    def _name(self, name: str, path: Path, precision: str) -> None:
        origin = f"{precision}, by edgepress from {self.fingerprint[:16]}"
        if name == "tflite":
            self.notes += name_parts(path, self.job, self.dataset, origin, self._is_converted(name))

    def _verified(self, name: str, precision: str, path: Path, runnable: Path) -> Artifact:
        from edgepress.deploy.verification.verifying import coarser, compare

        self._name(name, path, precision)
        with self.origin.exporters[name].open(runnable) as runtime:
            inputs, outputs = runtime.tensors()
            bounds = PRECISIONS[coarser(precision, self.origin.precision)]
            agreement = compare(self.source, runtime, inputs, outputs, bounds)
        return self._artifact(name, precision, path, runnable, inputs, outputs, agreement)

    def _artifact(
        self,
        name: str,
        precision: str,
        path: Path,
        runnable: Path,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        agreement: Agreement | None = None,
    ) -> Artifact:
        return Artifact(
            path=path,
            format=name,
            quantize=precision,
            **sizes_of(runnable),
            sha256=sha256(path),
            inputs=inputs,
            outputs=outputs,
            source=self.fingerprint,
            versions=versions(),
            verified=agreement,
        )


def _publish(
    lines: Sequence[_Line],
    remarks: Sequence[str],
    worker: Worker,
    out: Path,
    force: bool,
    beside: Sequence[Path],
) -> ExportResult:
    """Move the verified files to their place; without one, nothing is written."""
    published = tuple(replace(a, path=out / a.path.name) for line in lines for a in line.artifacts)
    notes = file_notes([artifact for line in lines for artifact in line.artifacts])
    result = ExportResult(
        published,
        tuple(skipped for line in lines for skipped in line.skipped),
        tuple(failed for line in lines for failed in line.failed),
        (*remarks, *(note for line in lines for note in line.notes), *notes),
        worker.kept_log,
    )
    if not published:
        return result
    with atomic_output(out, force, folder=True, checked=True) as temporary:
        temporary.mkdir()
        for file in (*beside, *(file for line in lines for file in line.files)):
            shutil.copy(file, temporary / file.name)
        write_json(temporary / "export.json", result.to_json())
    return result
