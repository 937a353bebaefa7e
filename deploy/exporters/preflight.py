"""What in a model won't convert, found by looking at its graph: no converter has to crash first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from edgepress.compress.errors import InputError
from edgepress.deploy.exporters.exporter import Job
from edgepress.deploy.exporters.onnx.handlers import HANDLERS
from edgepress.deploy.exporters.tracing import output_names
from edgepress.deploy.lowerings.recurrent import flat_layers, recurrent_layers
from edgepress.deploy.specs.export import TRAINED_FORMATS

if TYPE_CHECKING:
    import keras

# TensorFlow operations that TFLite has no operator for, each tried with the converter. Erf and Erfc
# aren't among them: those of a GELU become its operator.
_NOT_IN_TFLITE = frozenset({
    "Acos", "Acosh", "AdjustContrastv2", "Asin", "Asinh", "Atan", "Atanh", "BesselI0",
    "BitwiseAnd", "BitwiseOr", "Cholesky", "Cosh", "CropAndResize", "Cross", "Cumprod",
    "DenseBincount", "Dilation2D", "Erfinv", "ExtractImagePatches", "FFT", "FFT2D",
    "ImageProjectiveTransformV3", "LeftShift", "LowerBound", "MatrixDeterminant",
    "MatrixDiagPartV3", "MatrixInverse", "MaxPool3D", "MaxPoolWithArgmax", "NextAfter", "Qr",
    "ResizeArea", "ResizeBicubic", "Sinh", "Svd", "Tan", "UpperBound",
})  # fmt: skip

# Layers with an operator that TensorFlow's quantiser has no 16-bit version of.
_NOT_IN_16_BITS = {
    "Embedding": "an index as input can't be calibrated",
    "Masking": "the operator NOT_EQUAL has no 16-bit version",
}

_TRANSPOSED = frozenset({"Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"})

# What tf2onnx folds away.
_SETTLED_BEFORE_ONNX = frozenset({
    "Assert", "Const", "Identity", "IdentityN", "NoOp", "PartitionedCall", "Placeholder",
    "ReadVariableOp", "StatefulPartitionedCall", "VarHandleOp",
})  # fmt: skip


@dataclass(frozen=True)
class Obstacle:
    """Something in a model that a format can't hold.

    Attributes:
        format: The format.
        quantize: The precision, or "" for all of the format's.
        layer: The layer, as far as the graph tells.
        reason: One sentence that names the operation.
    """

    format: str
    quantize: str
    layer: str
    reason: str

    def concerns(self, format: str, precision: str) -> bool:
        """Whether it stands in the way of one combination."""
        return self.format == format and self.quantize in ("", precision)


def check_samples(model: keras.Model) -> None:
    """Refuse a Keras model whose files couldn't be fed with samples, one independent of the other.

    Raises:
        InputError: An input holds text, an output isn't one of each sample or holds no values, a
            layer keeps its state from one call to the next, or can't be computed on a CPU.
    """
    for tensor in model.inputs:
        if str(tensor.dtype) == "string":
            raise InputError(
                f"input '{tensor.name}' holds text, which no file format takes",
                "export the part after tokenization",
            )
    for name, tensor in zip(output_names(model), model.outputs, strict=True):
        if not tensor.shape:
            raise InputError(
                f"output '{name}' is one number for a whole batch, not one for each sample",
                "remove the operation that mixes the samples",
            )
        if 0 in tensor.shape[1:]:
            raise InputError(
                f"output '{name}' holds no values: its shape is {tuple(tensor.shape[1:])}",
                "give the model larger inputs, or fewer poolings",
            )
    for layer in flat_layers(model):
        if type(layer).__name__ in _TRANSPOSED and max(layer.dilation_rate) > 1:
            raise InputError(
                f"layer '{layer.name}' ({type(layer).__name__}) is dilated, which TensorFlow can't"
                " compute on a CPU: there would be nothing to compare files with",
                "spread its kernel with zeros, and set dilation_rate=1",
            )
    for layer in recurrent_layers(model):
        if layer.stateful:
            raise InputError(
                f"layer '{layer.name}' keeps its state from call to call, which files don't",
                "build it with stateful=False; its state can be an input and an output",
            )


def preflight(job: Job, formats: Sequence[str]) -> tuple[Obstacle, ...]:
    """Find what won't convert.

    Args:
        job: The model and the choices.
        formats: Formats to look at.

    Returns:
        The obstacles; the formats without any remain.
    """
    found: list[Obstacle] = []
    if of_tflite := [name for name in formats if name in TRAINED_FORMATS]:
        found += _tflite(job, of_tflite)
    if "onnx" in formats:
        found += _onnx(job)
    found += _quantised_by_keras(job, formats)
    return tuple(found)


def _quantised_by_keras(job: Job, formats: Sequence[str]) -> Iterator[Obstacle]:
    """Layers that compute in a type of 8-bit floats, as Keras's own `quantize` may leave them."""
    rounding = [x.name for x in flat_layers(job.model) if x.quantization_mode == "float8"]
    for name in formats if rounding else ():
        yield Obstacle(
            name,
            "",
            rounding[0],
            f"layer '{rounding[0]}' computes in float8, as Keras's quantize() left it, for which"
            f" {name} has no operators; export the model from before that with --quantize int8",
        )


def _tflite(job: Job, formats: Sequence[str]) -> Iterator[Obstacle]:
    operations = job.graph(None).operations
    missing = sorted(_NOT_IN_TFLITE & operations.keys())
    kinds = {type(layer).__name__: layer.name for layer in flat_layers(job.model)}
    for name in formats:
        for operation in () if job.settings.select_ops and name == "tflite" else missing:
            layer = layer_of(job.model, operations[operation])
            reason = f"TFLite has no operator for {operation} (in '{layer}')"
            hint = "; pass --select-ops to use TensorFlow's own kernels" if name == "tflite" else ""
            yield Obstacle(name, "", layer, reason + hint)
        without = {} if find_spec("ai_edge_quantizer") else _NOT_IN_16_BITS
        for kind in without.keys() & kinds.keys():
            reason = (
                f"layer '{kinds[kind]}' ({kind}): {without[kind]} in TFLite; with the package"
                " ai-edge-quantizer it stays in floats"
            )
            yield Obstacle(name, "int16x8", kinds[kind], reason)


def _onnx(job: Job) -> Iterator[Obstacle]:
    operations = job.graph(None).operations
    for operation in sorted(
        operations.keys() - _onnx_knows() - _SETTLED_BEFORE_ONNX - HANDLERS.keys()
    ):
        layer = layer_of(job.model, operations[operation])
        yield Obstacle("onnx", "", layer, f"tf2onnx can't convert {operation} (in '{layer}')")


def _onnx_knows() -> set[str]:
    """TensorFlow operations that tf2onnx has a handler or a rewriter for."""
    import tf2onnx.tfonnx  # noqa: F401  registers the handlers
    from tf2onnx.handler import tf_op

    by_version = (names for versions in tf_op.get_opsets().values() for names in versions)
    known = {name for names in by_version for name in names}
    # Loops, branches and random numbers are rewritten as patterns of several operations.
    return known | {"If", "StatelessIf", "While", "StatelessWhile", "RandomStandardNormal"}


def layer_of(model: keras.Model, node: str) -> str:
    """The innermost layer whose name is in a node's, else the node itself.

    Tracing numbers layers once more: `conv_1` stands for the layer `conv`, `conv_1_2` for `conv_1`.
    """
    names = {layer.name for layer in flat_layers(model)}
    for part in reversed(node.split("/")):
        for name in (part.rsplit("_", 1)[0], part):
            if name in names:
                return name
    return node
