"""Options of an export that can't be, or that nothing would heed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgepress.compress.errors import InputError
from edgepress.deploy.exporters import EXPORTERS, Settings
from edgepress.deploy.quantize.precision import METHODS, PRECISIONS
from edgepress.deploy.sources.source import Source

# Formats whose int8 files can come from quantisation-aware training.
TRAINED_FORMATS = frozenset({"tflite", "c"})
CALIBRATION_SAMPLES = 256


def check_options(
    formats: Sequence[str],
    quantize: Sequence[str],
    settings: Settings,
    has_data: bool,
    qat_epochs: int = 0,
    int8_max_drop: float | None = None,
    calibration_samples: int = CALIBRATION_SAMPLES,
) -> None:
    """Refuse, before any work, what can't be or would be ignored.

    Args:
        formats: Names of formats.
        quantize: Names of precisions.
        settings: The choices.
        has_data: Whether there is data.
        qat_epochs: Epochs of training for int8.
        int8_max_drop: Bound on what an int8 TFLite file loses.
        calibration_samples: Samples that ranges are taken from.

    Raises:
        InputError: Names the option.
    """
    exporters = [EXPORTERS[name] for name in formats]
    calibrated = [name for name in quantize if PRECISIONS[name].calibrated]
    if not formats or not quantize:
        raise InputError("nothing to export: name at least one format and one precision")
    if calibrated and not has_data:
        raise InputError(
            f"--quantize {calibrated[0]} takes the ranges of activations from samples",
            "pass --data",
        )
    if calibration_samples != CALIBRATION_SAMPLES and not calibrated:
        raise InputError(
            "--calibration-samples has no use: none of the files takes ranges from samples",
            "add --quantize int8",
        )
    if isinstance(settings.batch, int) and settings.batch < 1:
        raise InputError(f"--batch {settings.batch}: must be 1 or more")
    if settings.io not in ("float", "int8", "uint8"):
        raise InputError(f"--io {settings.io}: must be float, int8 or uint8")
    integers = {name for exporter in exporters for name in exporter.integer_io}
    if settings.io != "float" and not integers & set(quantize):
        raise InputError(
            f"--io {settings.io} has no use: none of {', '.join(quantize)} has integer inputs",
            "add --quantize int8 and --format tflite",
        )
    if qat_epochs and not ("int8" in quantize and TRAINED_FORMATS & set(formats)):
        raise InputError(
            "--qat-epochs has no use: it trains for int8 files of tflite or c",
            "add --quantize int8",
        )
    if int8_max_drop is not None and not ("int8" in quantize and "tflite" in formats):
        raise InputError(
            "--int8-max-drop has no use: it bounds what int8 TFLite files lose",
            "add --quantize int8 --format tflite",
        )
    if int8_max_drop is not None and settings.io != "float":
        raise InputError(
            f"--int8-max-drop keeps layers in floats, which --io {settings.io} has no place for",
            "pass --io float",
        )
    floats = "tflite" in formats and {"float32", "float16"} & set(quantize)
    if settings.sparse_encoding == "on" and not floats:
        raise InputError(
            "--sparse-encoding on has no use: it is for float32 and float16 TFLite files",
            "add --quantize float32 --format tflite",
        )
    _check_int8_options(quantize, settings)
    _check_onnx_options(formats, settings)


def check_source(
    source: Source, settings: Settings, qat_epochs: int = 0, int8_max_drop: float | None = None
) -> Settings:
    """Refuse what doesn't fit a source, or what one that is no Keras model has no use for.

    Args:
        source: What is exported.
        settings: The choices.
        qat_epochs: Epochs of training for int8.
        int8_max_drop: Bound on what an int8 TFLite file loses.

    Returns:
        The choices, with the batch size that the source fixes.

    Raises:
        InputError: Names the option.
    """
    _check_shapes(source.model, settings.shapes)
    if source.is_keras:
        return settings
    where = f"'{source.file.path}'"
    if qat_epochs:
        raise InputError(
            f"--qat-epochs trains, which {where} can't be: it is {source.file.what}",
            "give the Keras model that it was made from",
        )
    for option in ("equalize", "bias_correction"):
        if getattr(settings, option):
            raise InputError(
                f"--{option.replace('_', '-')} changes a Keras model, which {where} isn't:"
                f" it is {source.file.what}"
            )
    if source.is_finished:
        _check_unconverted(source, settings, int8_max_drop)
    if source.batch is None:
        return settings
    if settings.batch not in ("auto", source.batch):
        raise InputError(f"--batch {settings.batch}: {where} fixes the batch size {source.batch}")
    return replace(settings, batch=source.batch)


def _check_shapes(model: Any, shapes: Mapping[str, Sequence[int]]) -> None:
    from edgepress.deploy.exporters.tracing import fitting_shape

    names = [tensor.name for tensor in model.inputs]
    for name in shapes:
        if name not in names:
            raise InputError(
                f"--shape {name}=…: no input is called '{name}'", f"there is {', '.join(names)}"
            )
    for tensor in model.inputs:
        fitting_shape(tensor, shapes)


def _check_unconverted(source: Source, settings: Settings, int8_max_drop: float | None) -> None:
    where = f"'{source.file.path}'"
    by_onnx = source.precision == "float32" and "int8" in source.exporters["onnx"].precisions
    given = {
        "--io": settings.io != "float",
        "--batch": settings.batch != "auto",
        "--opset": settings.opset != 18,
        "--nchw": settings.nchw,
        "--select-ops": settings.select_ops,
        "--sparse-encoding": settings.sparse_encoding != "auto",
        "--int8-max-drop": int8_max_drop is not None,
        "--calibration-method": settings.calibration_method is not None and not by_onnx,
    }
    for option, used in given.items():
        if used:
            raise InputError(
                f"{option} has no use: {where} is a finished file, which no converter makes anew",
                f"leave out {option}, or give the Keras model that it was made from",
            )


def _check_int8_options(quantize: Sequence[str], settings: Settings) -> None:
    if settings.calibration_method not in (None, *METHODS):
        raise InputError(
            f"--calibration-method {settings.calibration_method}: must be {', '.join(METHODS)}"
        )
    given = {
        "--calibration-method": settings.calibration_method is not None,
        "--equalize": settings.equalize,
        "--bias-correction": settings.bias_correction,
    }
    for option, used in given.items():
        if used and "int8" not in quantize:
            raise InputError(f"{option} has no use: it is for int8 files", "add --quantize int8")


def _check_onnx_options(formats: Sequence[str], settings: Settings) -> None:
    if not 13 <= settings.opset <= 18:
        raise InputError(f"--opset {settings.opset}: tf2onnx writes 13 to 18")
    if "onnx" in formats:
        return
    given = {
        "--nchw": settings.nchw,
        "--opset": settings.opset != 18,
    }
    for option, used in given.items():
        if used:
            raise InputError(f"{option} has no use without --format onnx")
