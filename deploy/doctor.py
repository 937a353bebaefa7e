"""The whole diagnosis: the model and its data, what won't export, and the environment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from edgepress.compress.doctor import Diagnosis, Finding, ranked
from edgepress.compress.doctor import doctor as examine
from edgepress.compress.errors import InputError
from edgepress.compress.processes.scratch import scratch_folder
from edgepress.deploy.sources.opening import open_source
from edgepress.deploy.sources.source import Source

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import ModelLike
    from edgepress.compress.typing import DataLike


def doctor(
    model: Source | ModelLike,
    data: DataLike | None = None,
    formats: Sequence[str] = ("tflite", "onnx"),
    seed: int = 0,
    runtime: str | None = None,
) -> Diagnosis:
    """Look for everything that will be a problem later.

    Args:
        model: A Keras model, or what `open_source` takes.
        data: Data as `open_data` takes it.
        formats: File formats to look ahead to, names in `EXPORTERS`.
        seed: Draws samples.
        runtime: A runtime whose missing operators are a problem ("tflm", "litert",
            "onnxruntime"); for files only.

    Returns:
        The findings, the worst first.

    Raises:
        InputError: The model or the data can't be opened.
    """
    from edgepress.deploy.sources.diagnosis import examine_file

    source = open_source(model)
    if not source.is_keras:
        found = [*examine_file(source, data, seed, runtime), *export_findings(source, formats)]
        return Diagnosis(str(source.file.path), ranked([*found, *environment()]))
    if runtime is not None:
        raise InputError("runtime is for .tflite and .onnx files", "export the model first")
    found = [Finding("note", "graph", "", note) for note in source.notes]
    found += examine(source.model, data, seed).findings
    found += [*export_findings(source, formats), *environment()]
    return Diagnosis(str(source.model.name), ranked(found))


def export_findings(source: Source, formats: Sequence[str]) -> Iterator[Finding]:
    """What stands in the way of exporting, without running a converter.

    Args:
        source: What would be exported.
        formats: Names in `EXPORTERS`.

    Yields:
        A finding for each obstacle.
    """
    from edgepress.deploy.exporters import Job
    from edgepress.deploy.lowerings import float_kernels
    from edgepress.deploy.process.sharing import working
    from edgepress.deploy.sources.source import as_exported
    from edgepress.deploy.specs.export import ExportSpec

    if source.is_keras:
        if said := float_kernels.remark(source.model):
            yield Finding("note", "export", "", said)
        try:
            source, _ = as_exported(source)
        except InputError as error:
            yield Finding("problem", "export", "", error.message, error.hint)
            return
    with scratch_folder() as scratch, working() as worker:
        settings = ExportSpec(graph_batch=source.batch or "auto")
        probe = scratch / "probe.npz"
        job = Job(source.model, settings, worker, scratch, probe, None, trace=source.trace)
        try:
            obstacles = source.obstacles(job, formats)
        except Exception as error:
            first = str(error).strip().splitlines() or [type(error).__name__]
            yield Finding(
                "problem", "export", "", f"the graph can't be traced for export: {first[0][:200]}"
            )
            return
    for obstacle in obstacles:
        whole = not obstacle.quantize
        name = f"{obstacle.format} {obstacle.quantize}".strip()
        yield Finding(
            "problem" if whole else "note",
            "export",
            obstacle.layer,
            f"{name}: {obstacle.reason}",
            "" if whole else "other precisions are not affected",
        )
    if "tflite" in formats:
        yield from _loops(source.model)


def _loops(model: keras.Model) -> Iterator[Finding]:
    """What TFLite files make of recurrent layers."""
    from edgepress.deploy.lowerings.recurrent import MOST_STEPS, loops, steps_of

    looping = loops(model)
    if not looping:
        return
    name = looping[0].name
    yield Finding(
        "note",
        "export",
        name,
        f"'{name}' loops over time steps: TFLite files get a fixed batch and length",
    )
    endless = [tensor.name for tensor in model.inputs if None in tensor.shape[1:]]
    if endless:
        yield Finding(
            "warning",
            "export",
            name,
            f"tflite: '{name}' needs a fixed number of steps, which input '{endless[0]}' leaves"
            " free",
            "pass --shape or --data to export",
        )
    longest = max(looping, key=steps_of)
    if steps_of(longest) > MOST_STEPS:
        yield Finding(
            "warning",
            "export",
            longest.name,
            f"tflite int8, int16x8 and c: '{longest.name}' has {steps_of(longest)} steps, which"
            f" would be unrolled; the most are {MOST_STEPS}",
            "other precisions are not affected",
        )


def environment(requirements: Sequence[str] | None = None) -> Iterator[Finding]:
    """Installed packages that aren't among the releases edgepress was tested with.

    Args:
        requirements: Requirements ("keras>=3.14.1,<3.16"); edgepress's own, without those of its
            extras, by default.

    Yields:
        A finding for each package that is missing or of another release.
    """
    for text in requires("edgepress") or [] if requirements is None else requirements:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        name, tested = wanted.name, str(wanted.specifier)
        try:
            installed = version(name)
        except PackageNotFoundError:
            yield Finding(
                "problem", "environment", name, f"{name} is not installed", f"install {name}"
            )
            continue
        if not wanted.specifier.contains(installed, prereleases=True):
            yield Finding(
                "warning",
                "environment",
                name,
                f"{name} {installed} is installed; edgepress was tested with {tested}",
                f"pip install '{name}{tested}'",
            )
