"""Multiply-accumulates of TensorFlow's operations; a free size counts as 1.

Source of the formulas' axes: TensorFlow's documentation of its operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgepress.compress.counting.einsum import einsum_macs

if TYPE_CHECKING:
    import tensorflow as tf

_PYTHON = "calls Python code, which no graph shows"
_ITERATIVE = "solves or factorises matrices, for which there is no formula"
_OTHER = "is an operation without a formula"
# Operations that may multiply, whose products can't be counted, and why.
UNCOUNTED: dict[str, str] = {
    **dict.fromkeys(("PyFunc", "PyFuncStateless", "EagerPyFunc"), _PYTHON),
    **dict.fromkeys(
        (
            "Cholesky", "CholeskyGrad", "Eig", "MatrixDeterminant", "MatrixExponential",
            "MatrixInverse", "LogMatrixDeterminant", "MatrixLogarithm", "MatrixSolve",
            "MatrixSolveLs", "MatrixSquareRoot", "MatrixTriangularSolve", "Lu", "Qr",
            "SelfAdjointEigV2", "Svd", "TridiagonalSolve",
        ),
        _ITERATIVE,
    ),
    **dict.fromkeys(
        (
            "CTCLoss", "CTCLossV2", "CTCBeamSearchDecoder", "CudnnRNN", "CudnnRNNV2",
            "CudnnRNNV3", "FFT", "FFT2D", "FFT3D", "FFTND", "IFFT", "IFFT2D", "IFFT3D", "IFFTND",
            "RFFT", "RFFT2D", "RFFT3D", "RFFTND", "IRFFT", "IRFFT2D", "IRFFT3D", "IRFFTND",
            "SparseMatMul", "SparseMatrixMatMul", "SparseMatrixSparseMatMul",
            "SparseTensorDenseMatMul", "TridiagonalMatMul",
        ),
        _OTHER,
    ),
}  # fmt: skip
# Families of operations: compiled programs and quantised kernels.
_UNCOUNTED_PREFIXES = ("Xla", "UniformQuantized", "QuantizedConv", "QuantizedMatMul", "_Fused")


def why_uncounted(kind: str) -> str:
    """Why an operation's products can't be counted; empty where they can, or it makes none."""
    return UNCOUNTED.get(kind, _OTHER if kind.startswith(_UNCOUNTED_PREFIXES) else "")


def operation_macs(node: tf.Operation) -> int | None:
    """Multiply-accumulates of one operation of a graph.

    Args:
        node: A `tf.Operation`.

    Returns:
        The MACs; None where it makes none to speak of, or its tensors have no known rank.
    """
    formula = FORMULAS.get(node.type)
    if formula is None or any(tensor.shape.rank is None for tensor in node.inputs):
        return None
    return formula(node)


def ones(tensor: tf.Tensor) -> tuple[int, ...]:
    """A tensor's shape with 1 for free sizes; () where its rank isn't known."""
    return () if tensor.shape.rank is None else tuple(size or 1 for size in tensor.shape)


def _out(node: tf.Operation) -> int:
    return math.prod(ones(node.outputs[0]))


def _convolution(node: tf.Operation) -> int:
    """The filter is [kernel…, in / groups, out]."""
    return _out(node) * math.prod(ones(node.inputs[1])[:-1])


def _depthwise(node: tf.Operation) -> int:
    """The filter is [height, width, in, multiplier]."""
    return _out(node) * math.prod(ones(node.inputs[1])[:2])


def _transposed(node: tf.Operation) -> int:
    """The filter is [kernel…, out, in]; the third input is what comes in."""
    return math.prod(ones(node.inputs[2])) * math.prod(ones(node.inputs[1])[:-1])


def _product(node: tf.Operation) -> int:
    """Either factor may be transposed, so the inner size is what the rows leave."""
    rows, columns = ones(node.inputs[0])[-2:]
    return _out(node) * (rows * columns // max(ones(node.outputs[0])[-2], 1))


def _einsum(node: tf.Operation) -> int | None:
    equation = node.get_attr("equation").decode()
    return einsum_macs(equation, [ones(tensor) for tensor in node.inputs])


def _summed(node: tf.Operation) -> int | None:
    """A sum right behind a product of two tensors is a product of vectors, written out."""
    factors = node.inputs[0].op
    if factors.type != "Mul" or factors.inputs[0] is factors.inputs[1]:
        return None
    if any(math.prod(ones(factor)) == 1 for factor in factors.inputs):
        return None
    return math.prod(ones(node.inputs[0]))


FORMULAS: dict[str, Callable[[Any], int | None]] = {
    "Conv": _convolution,
    "Conv2D": _convolution,
    "Conv3D": _convolution,
    "DepthwiseConv2dNative": _depthwise,
    "Conv2DBackpropInput": _transposed,
    "Conv2DBackpropInputV2": _transposed,
    "Conv3DBackpropInputV2": _transposed,
    "MatMul": _product,
    "BatchMatMul": _product,
    "BatchMatMulV2": _product,
    "BatchMatMulV3": _product,
    "Einsum": _einsum,
    "Sum": _summed,
}
