"""ONNX files: float32 from the graph, the other precisions from that file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from edgepress.deploy.exporters.exporter import Job, Unsupported, Written
from edgepress.deploy.exporters.layer_marks import has_rules, layer_request
from edgepress.deploy.exporters.onnx.layer_precisions import refusal
from edgepress.deploy.exporters.tracing import TracedModel, input_names
from edgepress.deploy.lowerings.operations import Destination, lowers_differently
from edgepress.deploy.lowerings.recurrent import flat_layers
from edgepress.deploy.lowerings.volumes import has_volumes
from edgepress.deploy.quantize.float_tail import note_of
from edgepress.deploy.specs.export import LAYERED

# The float32 file that those of other precisions are made from, as `Job.made_once` knows it.
CONVERTED = "converted.onnx"
_EXPANDED = (
    "{} kernels, of convolutions and such, are stored in 8 bits and computed with in floats: ONNX"
    " Runtime has no fast kernels that quantise what they read on the go"
)


def write_onnx(job: Job, precision: str, out: Path) -> Written:
    """Write an ONNX file.

    Args:
        job: The model and the choices.
        precision: By name.
        out: The file.

    Returns:
        The file.

    Raises:
        Unsupported: The model has no such file.
        DeviceError: A converter refused or crashed.
    """
    layered = precision in LAYERED and has_rules(job.settings)
    for pattern, kind in job.settings.precision.items() if layered else ():
        if why := refusal(kind):
            raise Unsupported(f"--precision {pattern}={kind}: {why}", "leave it out for ONNX files")
    source = job.made_once(_source_name(layered), partial(_convert, job, layered))
    if precision == "float32":
        shutil.copy(source, out)
        notes_file = source.with_suffix(".json")
        return Written(out, versions=_versions(json.loads(notes_file.read_text())))
    if precision == "float16":
        request = {"source": str(source), "out": str(out)}
        return Written(out, versions=_versions(job.worker.ask("onnx-float16", request)))
    answer = job.worker.ask("onnx-quantize", quantize_request(job, precision, source, out))
    notes = [note_of(answer["floats"])] if answer.get("floats") else []
    if precision == "dynamic" and answer["in_floats"]:
        notes.append(_EXPANDED.format(answer["in_floats"]))
    return Written(out, notes=tuple(notes), versions=_versions(answer), layers=answer["layers"])


def int8_request(job: Job, out: Path) -> dict[str, Any]:
    """What the quantiser is asked for an int8 file of a job that one was made of already."""
    layered = has_rules(job.settings)
    source = job.made_once(_source_name(layered), partial(_convert, job, layered))
    return quantize_request(job, "int8", source, out)


def quantize_request(job: Job, precision: str, source: Path, out: Path) -> dict[str, Any]:
    """What the quantiser is asked for one file.

    Args:
        job: The model and the choices.
        precision: "int8", "dynamic" or "int8-weights".
        source: The float32 file, marked where layers have a precision of their own.
        out: The file.

    Raises:
        Unsupported: ONNX Runtime takes no ranges so.
    """
    request: dict[str, Any] = {"source": str(source), "out": str(out), "precision": precision}
    if precision != "int8":
        return request
    request["method"] = job.settings.calibration_method or "min-max"
    if request["method"] == "mse":
        raise Unsupported(
            "ONNX Runtime has no ranges by mean squared error",
            "pass --calibration-method percentile or entropy",
        )
    request["calibration"] = str(job.calibration)
    batch = job.settings.graph_batch
    request["batch"] = batch if isinstance(batch, int) else None
    request["nchw"] = _images(job) if job.settings.nchw else []
    request["float_tail"] = job.float_tail
    if has_rules(job.settings):
        marks = _graph(job, marked=True).marks
        request["layers"] = layer_request(marks, job.settings, precision)
    return request


def _source_name(layered: bool) -> str:
    return "marked.onnx" if layered else CONVERTED


def _versions(answer: Mapping[str, Any]) -> dict[str, str]:
    """The versions of ONNX that a file is written in."""
    return {"onnx opset": str(answer["opset"]), "onnx IR": str(answer["ir_version"])}


def _graph(job: Job, marked: bool, destination: Destination = "float") -> TracedModel:
    batch = job.settings.graph_batch
    size = None if batch in ("auto", "dynamic") else int(batch)
    return job.graph(size, destination=destination, marked=marked)


def _convert(job: Job, marked: bool, out: Path) -> None:
    reference = _graph(job, marked)
    source = reference
    volumes = job.trace is None and has_volumes(list(flat_layers(job.model)))
    if volumes or lowers_differently(reference.operations, "onnx"):
        source = _graph(job, marked, "onnx")
    images = _images(job)
    if job.settings.nchw and not images:
        raise Unsupported("the model has no image input whose channels could come first")
    answer = job.worker.ask(
        "onnx",
        {
            "source": str(source.folder),
            "reference": str(reference.folder),
            "out": str(out),
            "opset": job.settings.opset,
            "nchw": images if job.settings.nchw else [],
            "inputs": [spec.name for spec in source.inputs],
            "outputs": [spec.name for spec in source.outputs],
            "probe": str(job.probe),
        },
    )
    out.with_suffix(".json").write_text(json.dumps(answer))


def _images(job: Job) -> list[str]:
    """Graph names of the inputs that hold images."""
    names = zip(input_names(job.model), job.model.inputs, strict=True)
    return [name for name, tensor in names if len(tensor.shape) == 4]
