"""The table of operations: name of the class → rule."""

from __future__ import annotations

from edgepress.compress.structure.rules import operations as ops
from edgepress.compress.structure.rules.attention import EINSUM, MATMUL
from edgepress.compress.structure.rules.elementwise import SAME
from edgepress.compress.structure.rules.merging import OPERATOR
from edgepress.compress.structure.rules.movement import trace_concatenate, trace_reshape
from edgepress.compress.structure.rules.passing import SOFTMAX
from edgepress.compress.structure.rules.rule import Rule

_ELEMENTWISE = (
    "Absolute Abs Negative Square Sqrt Rsqrt Exp Expm1 Log Log1p Log2 Log10 Sin Cos Tan Tanh "
    "Sinh Cosh Arctan Sign Round Floor Ceil Clip Reciprocal Erf Relu Relu6 Sigmoid "
    "SparseSigmoid Softplus Softsign SoftShrink SparsePlus Silu Squareplus LogSigmoid "
    "LeakyRelu HardSigmoid HardSilu Elu Selu Gelu Celu TanhShrink HardTanh HardShrink "
    "Threshold Cast SaturateCast StopGradient Copy NanToNum Identity IsNan OnesLike ZerosLike "
)
_MEETING = (
    "Add Subtract Multiply Divide TrueDivide DivideNoNan FloorDivide Mod Power Maximum "
    "Minimum Arctan2 Equal NotEqual Less LessEqual Greater GreaterEqual LogicalAnd LogicalOr "
    "Where "
)
_REDUCTIONS = "Mean Sum Max Min Prod Std Var Any All Amax Amin Logsumexp "

OPERATIONS: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE.split(), SAME),
    **dict.fromkeys(_MEETING.split(), OPERATOR),
    **dict.fromkeys(_REDUCTIONS.split(), Rule(ops.trace_reduction)),
    "Matmul": MATMUL,
    "Einsum": EINSUM,
    "Softmax": SOFTMAX,
    "LogSoftmax": SOFTMAX,
    "Reshape": Rule(trace_reshape, revise=ops.revise_reshape),
    "Transpose": ops.TRANSPOSE,
    "Swapaxes": ops.SWAP,
    "Moveaxis": ops.MOVE,
    "ExpandDims": ops.EXPAND,
    "Squeeze": ops.SQUEEZE,
    "Flip": ops.FLIP,
    "GetItem": Rule(ops.trace_get_item, revise=ops.revise_get_item),
    "Split": Rule(ops.trace_split, revise=ops.revise_split),
    "Concatenate": Rule(trace_concatenate),
    "Stack": Rule(ops.trace_stack),
    "Unstack": Rule(ops.trace_unstack),
    "Tile": Rule(ops.trace_tile),
    "Repeat": Rule(ops.trace_repeat),
    "Pad": Rule(ops.trace_pad),
    "DepthToSpace": Rule(ops.trace_depth_to_space),
    "SpaceToDepth": Rule(ops.trace_space_to_depth),
}
