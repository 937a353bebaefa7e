"""The options of an export: declared, explained and checked here, for every way of asking.

The command line, recipes and `export` itself read this class. A new option is a field, its line in
the docstring, and a rule where it goes with some options alone; the exporters find it in
`job.settings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from edgepress.compress.errors import InputError
from edgepress.compress.specs.training import Drop, Spec
from edgepress.deploy.quantize.precision import PRECISIONS, Method
from edgepress.deploy.specs.notation import Count, Sizes, Words, parse_batch

# The precision of a layer of its own: floats of 32 bits, floats whose weights are stored in 16,
# int8 weights with activations of 16 or 8 bits, int4 weights with activations of 8 bits.
LayerPrecision = Literal["float32", "float16", "int16x8", "int8", "int4"]
# Precisions of files in which layers may have one of their own.
LAYERED = ("int8", "int16x8")
# Formats that are TFLite files or made of one: int8 can come from quantisation-aware training.
TRAINED_FORMATS = frozenset({"tflite", "c", "c-standalone"})
# Formats whose int8 files keep layers in floats until they lose no more than is allowed.
BOUNDED_FORMATS = frozenset({"tflite", "onnx"})


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise InputError("nothing to export: name at least one format and one precision")
    return tuple(dict.fromkeys(names))


def _precisions(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        PRECISIONS[name]
    return names


Once = Annotated[Words, AfterValidator(_each_once)]


class ExportSpec(Spec):
    """Which files are written.

    Attributes:
        formats: File formats.
        quantize: Precisions of the files.
        io: Type of an int8 file's inputs and outputs.
        graph_batch: Batch size of the files: dynamic, a number, or auto (free unless that costs
            operators in a TFLite graph, then 1).
        opset: Opset of ONNX files, 13 to 18.
        nchw: Give ONNX files image inputs with channels first.
        calibration_samples: Samples for the int8 calibration; with fewer than 200, ranges are too
            narrow.
        calibration_method: How int8 ranges are derived from the samples; auto uses the best one; by
            default percentile in TFLite, min-max in ONNX.
        equalize: Try cross-layer equalisation before int8, and keep it if it helps on calibration
            samples; by default in small depthwise networks.
        bias_correction: Try bias correction before int8, and keep it if it helps; by default in
            small depthwise networks.
        sparse_encoding: Store float32 and float16 TFLite files without their zeros: on, off, or
            auto (if the file becomes smaller, runs and is not slower).
        select_ops: Allow TensorFlow's own kernels (select TF ops) in TFLite files.
        strip_names: Leave names, signature and metadata out of TFLite files, which makes them
            smaller; C sources never hold them.
        plan_memory: Put a plan of where activations lie, and an order of operators that needs less
            memory, into TFLite and C files for TensorFlow Lite Micro, where its arena gets smaller
            so; by default in C sources alone.
        with_features: Let the files take sounds and compute their features themselves, in floats.
        shapes: Sizes of inputs with free dimensions, as NAME=24x36, without the batch.
        qat_epochs: Epochs of quantisation-aware training before the int8 files of tflite and c.
        keep_float: Layers of int8 and int16x8 files that stay in floats, by patterns of their
            names.
        precision: Layers of int8 and int16x8 files with a precision of their own, by patterns of
            their names, as GLOB=int4; later ones count more, and `keep_float` most.
        int8_max_drop: Largest fall of the metric from the model to its int8 TFLite or ONNX file;
            the layers that lose most stay in floating point until it holds.
        verify_samples: Samples on which each file is compared; by default the whole test split.
    """

    flags: ClassVar[Mapping[str, str]] = {
        "formats": "format",
        "shapes": "shape",
        "graph_batch": "batch",
    }

    formats: Once = ("tflite", "onnx")
    quantize: Annotated[Once, AfterValidator(_precisions)] = ("float32", "int8")
    io: Literal["float", "int8", "uint8"] = "float"
    graph_batch: Annotated[
        Annotated[int, Field(ge=1)] | Literal["auto", "dynamic"],
        BeforeValidator(
            parse_batch, json_schema_input_type=Count | Literal["auto", "dynamic"] | str
        ),
    ] = "auto"
    opset: int = Field(18, ge=13, le=18)
    nchw: bool = False
    calibration_samples: int = Field(256, ge=1)
    calibration_method: Method | None = None
    equalize: bool | None = None
    bias_correction: bool | None = None
    sparse_encoding: Literal["auto", "on", "off"] = "auto"
    select_ops: bool = False
    strip_names: bool = False
    plan_memory: bool | None = None
    with_features: bool = False
    shapes: Annotated[dict[str, Sizes], BeforeValidator(lambda value: value or {})] = Field(
        default_factory=dict
    )
    qat_epochs: int = Field(0, ge=0)
    keep_float: Words = ()
    precision: Annotated[dict[str, LayerPrecision], BeforeValidator(lambda value: value or {})] = (
        Field(default_factory=dict)
    )
    int8_max_drop: Drop | None = Field(None, ge=0)
    verify_samples: int | None = Field(None, ge=1)

    @property
    def calibrated(self) -> list[str]:
        """Those precisions that take ranges from samples."""
        return [name for name in self.quantize if PRECISIONS[name].calibrated]

    def changed(self, *names: str) -> list[str]:
        """Those fields that don't have their default; a run's own recipe spells all of them out."""
        fields = type(self).model_fields
        return [
            n for n in names if getattr(self, n) != fields[n].get_default(call_default_factory=True)
        ]

    @model_validator(mode="after")
    def _options_of_int8(self) -> ExportSpec:
        if "int8" not in self.quantize:
            for name in self.changed("calibration_method", "equalize", "bias_correction"):
                raise unused(name, "it is for int8 files", "add --quantize int8")
        if not self.calibrated and self.changed("calibration_samples"):
            raise unused(
                "calibration_samples",
                "none of the files takes ranges from samples",
                "add --quantize int8",
            )
        if self.qat_epochs and not self._has("int8", TRAINED_FORMATS):
            raise unused(
                "qat_epochs", "it trains for int8 files of tflite or c", "add --quantize int8"
            )
        return self

    @model_validator(mode="after")
    def _layers_by_name(self) -> ExportSpec:
        for name in self.changed("keep_float", "precision"):
            if not set(LAYERED) & set(self.quantize):
                raise unused(
                    name, "it is for layers of int8 and int16x8 files", "add --quantize int8"
                )
        for pattern, kind in self.precision.items():
            if self.qat_epochs and kind in ("int16x8", "int4"):
                raise InputError(
                    f"--precision {pattern}={kind}: --qat-epochs trains layers for int8 or leaves"
                    " them in floats",
                    "leave one of them out",
                )
            if self.int8_max_drop is not None and kind == "int16x8":
                raise InputError(
                    f"--precision {pattern}={kind}: --int8-max-drop chooses between int8 and"
                    " floats",
                    "leave one of them out",
                )
        return self

    @model_validator(mode="after")
    def _bounded_drop(self) -> ExportSpec:
        if self.int8_max_drop is None:
            return self
        if not self._has("int8", BOUNDED_FORMATS):
            raise unused(
                "int8_max_drop",
                "it bounds what int8 files of TFLite and ONNX lose",
                "add --quantize int8 --format tflite",
            )
        if self.io != "float":
            raise InputError(
                f"--int8-max-drop keeps layers in floats, which --io {self.io} can't hold",
                "pass --io float",
            )
        return self

    @model_validator(mode="after")
    def _features_in_floats(self) -> ExportSpec:
        rounding = self.changed("io", "qat_epochs", "int8_max_drop", "equalize", "bias_correction")
        if self.with_features and rounding:
            raise InputError(
                f"--with-features keeps the features in floats, which {flag_of(rounding[0])} can't"
                " leave out",
                "leave one of them out",
            )
        return self

    @model_validator(mode="after")
    def _options_of_one_format(self) -> ExportSpec:
        floats = any(self._has(name, ["tflite"]) for name in ("float32", "float16"))
        if self.sparse_encoding == "on" and not floats:
            raise unused(
                "sparse_encoding",
                "it is for float32 and float16 TFLite files",
                "add --quantize float32 --format tflite",
                " on",
            )
        if self.strip_names and "tflite" not in self.formats:
            raise unused("strip_names", "it is for TFLite files", "add --format tflite")
        if self.plan_memory is not None and not {"tflite", "c"} & set(self.formats):
            raise unused("plan_memory", "it is for TFLite and C files", "add --format c")
        if "onnx" not in self.formats:
            for name in self.changed("nchw", "opset"):
                raise InputError(f"{flag_of(name)} has no effect without --format onnx")
        return self

    def _has(self, precision: str, formats: Sequence[str] | frozenset[str]) -> bool:
        return precision in self.quantize and bool(set(formats) & set(self.formats))


def flag_of(name: str) -> str:
    """A field as it is called on the command line."""
    return "--" + ExportSpec.flags.get(name, name).replace("_", "-")


def unused(name: str, why: str, hint: str, value: Any = "") -> InputError:
    """The refusal of an option that has no effect."""
    return InputError(f"{flag_of(name)}{value} has no effect: {why}", hint)
