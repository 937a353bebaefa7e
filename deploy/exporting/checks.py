"""What an export's specification can't know by itself: the formats' table, the data, the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgepress.compress.errors import InputError
from edgepress.deploy.exporters import EXPORTERS
from edgepress.deploy.exporters.layer_marks import check_patterns
from edgepress.deploy.sources.source import Source
from edgepress.deploy.specs.export import ExportSpec, flag_of, unused

if TYPE_CHECKING:
    import keras

# Options of a conversion, which have no effect on a file that is converted already.
_OF_CONVERSION = (
    "io", "graph_batch", "opset", "nchw", "select_ops", "sparse_encoding", "int8_max_drop",
    "keep_float", "precision", "calibration_method",
)  # fmt: skip


def check(spec: ExportSpec, source: Source | None = None, has_data: bool = True) -> ExportSpec:
    """Refuse, before any work, what doesn't fit the formats, the data or the source.

    Args:
        spec: What is asked for; its own rules hold already.
        source: What is exported, where that is known.
        has_data: Whether there is data.

    Returns:
        What is asked for, with the batch size that the source fixes.

    Raises:
        InputError: Names the option.
    """
    exporters = [EXPORTERS[name] for name in spec.formats]
    own = source.precision if source is not None and source.is_finished else ""
    calibrated = [precision for precision in spec.calibrated if precision != own]
    if calibrated and not has_data:
        raise InputError(
            f"--quantize {calibrated[0]} takes the ranges of activations from samples",
            "pass --data",
        )
    integers = {name for exporter in exporters for name in exporter.integer_io}
    if spec.io != "float" and not integers & set(spec.quantize):
        raise unused(
            "io",
            f"none of {', '.join(spec.quantize)} has integer inputs",
            "add --quantize int8 and --format tflite",
            f" {spec.io}",
        )
    return spec if source is None else _fitted(spec, source)


def _fitted(spec: ExportSpec, source: Source) -> ExportSpec:
    _check_shapes(source.model, spec.shapes)
    if source.is_keras:
        check_patterns(source.model, spec)
        return spec
    where = f"'{source.file.path}'"
    if spec.qat_epochs:
        raise InputError(
            f"--qat-epochs trains, which {where} can't be: it is {source.file.what}",
            "give the Keras model that it was made from",
        )
    for name in ("equalize", "bias_correction"):
        if getattr(spec, name):
            raise InputError(
                f"{flag_of(name)} changes a Keras model, which {where} isn't:"
                f" it is {source.file.what}"
            )
    if source.is_finished:
        _check_unconverted(source, spec)
    for name in spec.changed("keep_float", "precision"):
        raise unused(
            name,
            f"{where} is {source.file.what}, which has no layers by name",
            "give the Keras model that it was made from",
        )
    if source.batch is None:
        return spec
    if spec.graph_batch not in ("auto", source.batch):
        raise InputError(
            f"{flag_of('graph_batch')} {spec.graph_batch}: {where} fixes the batch size"
            f" {source.batch}"
        )
    return spec.model_copy(update={"graph_batch": source.batch})


def _check_shapes(model: keras.Model, shapes: Mapping[str, Sequence[int]]) -> None:
    from edgepress.deploy.exporters.tracing import fitting_shape

    names = [tensor.name for tensor in model.inputs]
    for name in shapes:
        if name not in names:
            raise InputError(
                f"--shape {name}=…: no input is called '{name}'", f"there is {', '.join(names)}"
            )
    for tensor in model.inputs:
        fitting_shape(tensor, shapes)


def _check_unconverted(source: Source, spec: ExportSpec) -> None:
    where = f"'{source.file.path}'"
    by_onnx = source.precision == "float32" and "int8" in source.exporters["onnx"].precisions
    for name in spec.changed(*_OF_CONVERSION):
        if name == "calibration_method" and by_onnx:
            continue
        flag = flag_of(name)
        raise unused(
            name,
            f"{where} is already converted",
            f"leave out {flag}, or give the Keras model that it was made from",
        )
