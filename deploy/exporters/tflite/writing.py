"""TFLite files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from edgepress.benchmarks.tflite.graph import share_vectors
from edgepress.benchmarks.tflite.per_tensor_scales import share_grid
from edgepress.compress.errors import DeviceError, InputError
from edgepress.deploy.exporters.exporter import Job, Unsupported, Written
from edgepress.deploy.exporters.layer_marks import has_rules, layer_request
from edgepress.deploy.exporters.tracing import TracedModel
from edgepress.deploy.lowerings.operations import Destination, lowers_differently
from edgepress.deploy.lowerings.recurrent import loops
from edgepress.deploy.quantize.float_tail import note_of
from edgepress.deploy.quantize.precision import PRECISIONS
from edgepress.deploy.specs.export import LAYERED

# Precisions whose quantiser crashes on loops.
_NEEDS_UNROLLED = {"int8", "int16x8"}
_DESTINATIONS: dict[str, Destination] = {"int8": "int8", "int16x8": "int16"}
_WEIGHTS_ONLY = {"int8-weights", "int4-weights"}
_FLOAT_FILE = "float32.tflite"  # in scratch, from which files of quantised weights are made
_ALL_SMALL = "no kernel of this graph has the 1,024 weights that TensorFlow's converter asks for"
_NO_16_BITS = (
    "ai-edge-quantizer, which made the file since TensorFlow's quantiser refused it, has no 16 bits"
    " for them"
)
_SETTLED = "its free sizes are those of the data: TensorFlow's converter can't leave them free"
# Precisions that keep clusters; int16x8 is for those who want the finest grid.
_CHANNELWISE = {"int8", "dynamic"}


def write_tflite(job: Job, precision: str, out: Path, unrolled: bool = False) -> Written:
    """Write a TFLite file, in which equal vectors of scales and zero points are one.

    Args:
        job: The model and the choices.
        precision: By name.
        out: The file.
        unrolled: Whether loops are unrolled in every precision.

    Returns:
        The file.

    Raises:
        Unsupported: The model has no such file.
        DeviceError: The converter refused or crashed.
    """
    written = _written(job, precision, out, unrolled)
    if precision != "float32":
        share_vectors(out)
    return written


def _written(job: Job, precision: str, out: Path, unrolled: bool) -> Written:
    if precision in _WEIGHTS_ONLY:
        _write_float_then_weights(job, precision, out)
        return Written(out)
    answer = _converted(job, precision, out, unrolled)
    if precision == "dynamic" and not answer["integers"]:
        return _write_small_kernels(job, out)
    floats = (note_of(answer["floats"]),) if answer.get("floats") else ()
    if kinds := answer["without_16_bits"]:
        floats = (f"{', '.join(kinds)} in floats: {_NO_16_BITS}",)
    settled = (_SETTLED,) if job.settles and job.data_sizes and not unrolled else ()
    notes = (*settled, *floats, *_keep_clusters(job, precision, out))
    return Written(out, notes=notes, layers=answer["layers"])


def _converted(job: Job, precision: str, out: Path, unrolled: bool) -> dict[str, Any]:
    """What the converter says of a file that it wrote; sizes that it can't leave free are set."""
    try:
        return job.worker.ask("tflite", request_for(job, precision, out, unrolled=unrolled))
    except DeviceError:
        if not job.data_sizes or _settled(job):
            raise
    job.settles = True
    return job.worker.ask("tflite", request_for(job, precision, out, unrolled=unrolled))


def _write_small_kernels(job: Job, out: Path) -> Written:
    """A dynamic file of kernels that TensorFlow's converter leaves in floats.

    Raises:
        Unsupported: It would be no smaller than the float32 file.
    """
    try:
        _write_float_then_weights(job, "dynamic", out)
    except DeviceError as error:
        raise Unsupported(f"{_ALL_SMALL}, and {error.message}") from None
    before = (job.scratch / _FLOAT_FILE).stat().st_size
    if out.stat().st_size >= before:
        raise Unsupported(
            f"{_ALL_SMALL}: with those in 8 bits the file would have {out.stat().st_size:,} bytes,"
            f" float32 has {before:,}"
        )
    return Written(out, notes=_keep_clusters(job, "dynamic", out))


def _keep_clusters(job: Job, precision: str, out: Path) -> tuple[str, ...]:
    """Let kernels whose weights share values hold as few integers; what there is to say of it."""
    from edgepress.compress.weights.masks.prunable import find_kernels

    # Ranges that were trained are what the network is used to.
    if precision not in _CHANNELWISE or job.carries_ranges or job.settings.precision:
        return ()
    changed = share_grid(out, [k.value() for k in find_kernels(job.model, depthwise=True)[0]])
    if not changed:
        return ()
    return (f"{changed} kernels of shared values keep them: one grid for all their channels",)


def request_for(
    job: Job, precision: str, out: Path, sparse: bool = False, unrolled: bool = False
) -> dict[str, Any]:
    """What the converter is asked for one file; `sparse` leaves its zeros out.

    Raises:
        Unsupported: The model has no such graph.
    """
    source = graph_for(job, precision, unrolled)
    layered = precision in LAYERED and has_rules(job.settings)
    return {
        "layers": layer_request(source.marks, job.settings, precision) if layered else None,
        "source": str(source.folder),
        "out": str(out),
        "precision": precision,
        "io": job.settings.io,
        "method": job.settings.calibration_method or "min-max",
        "calibration": None if job.carries_ranges else str(job.calibration),
        "batch": source.inputs[0].shape[0] or 1,
        "limits": dict(source.limits),
        "select_ops": job.settings.select_ops,
        "float_tail": job.float_tail,
        "float_head": job.settings.with_features,
        "sparse": sparse,
    }


def _write_float_then_weights(job: Job, precision: str, out: Path) -> None:
    source = job.made_once(_FLOAT_FILE, partial(write_tflite, job, "float32"))
    request = {"source": str(source), "out": str(out), "precision": precision}
    if job.calibration is not None and PRECISIONS[precision].rounded_by_samples:
        request["calibration"] = str(job.calibration)
    job.worker.ask("tflite-weights", request)


def graph_for(job: Job, precision: str, unrolled: bool = False) -> TracedModel:
    """The graph to convert: free batch where that costs nothing, else fixed.

    Args:
        job: The model and the choices.
        precision: By name.
        unrolled: Whether loops are unrolled where the precision leaves the choice.

    Raises:
        Unsupported: A loop whose length isn't known.
    """
    size = _batch_size(job)
    unrolled = (unrolled or precision in _NEEDS_UNROLLED) and bool(loops(job.model))
    marked = precision in LAYERED and has_rules(job.settings)
    trace = partial(job.graph, size, settled=_settled(job), unrolled=unrolled, marked=marked)
    try:
        graph = trace()
        destination = _DESTINATIONS.get(precision, "float")
        if lowers_differently(graph.operations, destination):
            return trace(destination=destination)
        return graph
    except InputError:  # says more already
        raise
    except ValueError as error:
        raise Unsupported(f"the recurrent layers can't be unrolled: {error}") from None


def _settled(job: Job) -> bool:
    """Whether free sizes become those of the data: a loop needs to know its steps."""
    return job.settles or bool(loops(job.model))


def _batch_size(job: Job) -> int | None:
    """How many samples the graph takes at once; None where that is free.

    Raises:
        Unsupported: A loop whose length isn't known.
    """
    batch = job.settings.graph_batch
    if not loops(job.model):
        if batch == "dynamic":
            return None
        if batch != "auto":
            return int(batch)
        return 1 if job.graph(None, settled=_settled(job)).counts_its_batch else None
    if batch == "dynamic":
        raise Unsupported("TFLite has no recurrent layers with a free batch size")
    endless = [t.name for t in job.model.inputs if None in job.sizes.get(t.name, t.shape[1:])]
    if endless:
        raise Unsupported(
            f"a recurrent layer in TFLite needs a fixed step count; input '{endless[0]}' has none",
            "pass --shape or --data",
        )
    return 1 if batch == "auto" else int(batch)
