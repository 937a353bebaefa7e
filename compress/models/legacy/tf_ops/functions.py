"""TensorFlow's public functions by name, in terms of `keras.ops`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError
from edgepress.compress.models.legacy.tf_ops import images as images
from edgepress.compress.models.legacy.tf_ops import linear as linear
from edgepress.compress.models.legacy.tf_ops import norms as norms
from edgepress.compress.models.legacy.tf_ops import orders as orders
from edgepress.compress.models.legacy.tf_ops import shapes as shapes

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Tensor

# Functions whose first argument is a list even when it holds one tensor.
TAKE_LISTS = frozenset({"concat", "stack", "add_n", "parallel_stack", "concatenate"})

_REDUCTIONS = ("sum", "mean", "max", "min", "prod", "all", "any", "std")


def like(value: Any, other: Any) -> Any:
    """A saved constant as an array of the other operand's dtype; tensors stay as they are."""
    import keras

    if isinstance(value, list):
        dtype = getattr(other, "dtype", None)
        return np.asarray(value, dtype=keras.backend.standardize_dtype(dtype) if dtype else None)
    return value


def _binary(name: str) -> Callable[..., Any]:
    def call(x: Any = None, y: Any = None, a: Any = None, b: Any = None) -> Tensor:
        from keras import ops

        left, right = (x if x is not None else a), (y if y is not None else b)
        if isinstance(left, shapes.Size) or isinstance(right, shapes.Size):
            return shapes.Size.combine(getattr(np, name), left, right)
        return getattr(ops, name)(like(left, right), like(right, left))

    return call


def _unary(name: str) -> Callable[..., Any]:
    def call(x: Any, dtype: str | None = None) -> Tensor:
        from keras import ops

        if isinstance(x, np.ndarray | np.generic):
            return np.asarray(getattr(ops, name)(x))
        if dtype is not None:
            return ops.cast(getattr(ops, name)(x), shapes.dtype_name(dtype))
        return getattr(ops, name)(x)

    return call


def _reduction(name: str) -> Callable[..., Any]:
    def call(
        x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False, **old: Any
    ) -> Tensor:
        from keras import ops

        axis = old.pop("reduction_indices", axis)
        keep = bool(old.pop("keep_dims", keepdims))
        axis = tuple(axis) if isinstance(axis, list) else axis
        return getattr(ops, name)(x, axis=axis, keepdims=keep)

    return call


def _softmax(name: str) -> Callable[..., Any]:
    def call(x: Any, axis: int | None = -1, dim: int | None = None) -> Tensor:
        from keras import ops

        axis = dim if dim is not None else axis
        return getattr(ops, name)(x, axis=-1 if axis is None else axis)

    return call


def _add_n(values: Sequence[Tensor]) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _clip(
    x: Tensor, clip_value_min: Any = None, clip_value_max: Any = None, **keras_names: Any
) -> Tensor:
    from keras import ops

    low = keras_names.get("min_value", clip_value_min)
    high = keras_names.get("max_value", clip_value_max)
    return ops.clip(x, low, high)


def _cast(x: Any, dtype: str | None) -> Tensor | NDArray[Any]:
    from keras import ops

    if isinstance(x, shapes.Size):
        return shapes.number(x).astype(shapes.dtype_name(dtype))
    return ops.cast(x, shapes.dtype_name(dtype))


def _matmul(
    a: Tensor | None = None,
    b: Tensor | None = None,
    transpose_a: bool = False,
    transpose_b: bool = False,
    x: Tensor | None = None,
    y: Tensor | None = None,
    **flags: Any,
) -> Tensor:
    from keras import ops

    if any(flags.get(key) for key in ("adjoint_a", "adjoint_b")):
        raise InputError("matmul with an adjoint can't be converted", "use transpose_a or _b")
    left, right = (a if a is not None else x), (b if b is not None else y)
    left, right = like(left, right), like(right, left)
    left = ops.swapaxes(left, -1, -2) if transpose_a else left
    right = ops.swapaxes(right, -1, -2) if transpose_b else right
    return ops.matmul(left, right)


def _where(condition: Tensor, x: Tensor | None = None, y: Tensor | None = None) -> Tensor:
    from keras import ops

    if x is None or y is None:
        raise InputError("tf.where with a condition alone can't be converted", "give both values")
    return ops.where(condition, like(x, y), like(y, x))


def _leaky_relu(x: Tensor, alpha: float = 0.2) -> Tensor:
    from keras import ops

    return ops.leaky_relu(x, negative_slope=alpha)


def _gelu(x: Tensor, approximate: bool = False) -> Tensor:
    from keras import ops

    return ops.gelu(x, approximate=approximate)


def _relu(
    x: Tensor, alpha: float = 0.0, max_value: Any = None, threshold: float = 0.0, **_n: Any
) -> Tensor:
    import keras

    return keras.activations.relu(x, negative_slope=alpha, max_value=max_value, threshold=threshold)


def _silu(x: Tensor, beta: float = 1.0) -> Tensor:
    from keras import ops

    return ops.silu(x) if beta == 1.0 else x * ops.sigmoid(beta * x)


def _squared_difference(x: Tensor, y: Tensor) -> Tensor:
    from keras import ops

    return ops.square(ops.subtract(like(x, y), like(y, x)))


def _identity(x: Tensor, **_flags: Any) -> Tensor:
    return x


def _divide_no_nan(x: Tensor, y: Tensor) -> Tensor:
    from keras import ops

    return ops.divide_no_nan(like(x, y), like(y, x))


def _bias_add(x: Tensor, bias: Any, data_format: Any = None) -> Tensor:
    from keras import ops

    values = like(bias, x)
    if str(data_format).startswith("NC") or data_format == "channels_first":
        values = ops.reshape(values, (-1, *(1 for _ in x.shape[2:])))
    return ops.add(x, values)


def _crelu(x: Tensor, axis: int = -1) -> Tensor:
    from keras import ops

    return ops.relu(ops.concatenate([x, -x], axis=axis))


def _hard_sigmoid(x: Tensor) -> Tensor:
    from edgepress.compress.models.compat_layers.activations import keras2_hard_sigmoid

    return keras2_hard_sigmoid(x)


def _same_names(kind: Callable[[str], Callable[..., Any]], names: str) -> dict[str, Any]:
    return {name: kind(name) for name in names.split()}


# Function by the last part of TensorFlow's public name.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **_same_names(
        _binary,
        "add subtract multiply divide maximum minimum floor_divide mod arctan2 equal "
        "not_equal greater greater_equal less less_equal logical_and logical_or logical_xor",
    ),
    **_same_names(
        _unary,
        "abs exp log log1p sqrt rsqrt square sign floor ceil round sin cos tan sinh cosh "
        "tanh sigmoid softplus softsign relu6 selu elu erf reciprocal negative expm1 "
        "logical_not isnan isinf isfinite zeros_like ones_like log_sigmoid hard_silu mish",
    ),
    "truediv": _binary("divide"),
    "div": _binary("divide"),
    "realdiv": _binary("divide"),
    "floordiv": _binary("floor_divide"),
    "floormod": _binary("mod"),
    "pow": _binary("power"),
    "atan2": lambda y, x: _binary("arctan2")(y, x),
    "__ne__": _binary("not_equal"),
    "__eq__": _binary("equal"),
    "and": _binary("logical_and"),
    "or": _binary("logical_or"),
    "neg": _unary("negative"),
    "asin": _unary("arcsin"),
    "acos": _unary("arccos"),
    "atan": _unary("arctan"),
    "lgamma": _unary("lgamma"),
    "squared_difference": _squared_difference,
    "divide_no_nan": _divide_no_nan,
    "multiply_no_nan": _binary("multiply"),
    **{
        f"reduce_{n}": _reduction(n)
        for n in ["sum", "mean", "max", "min", "prod", "all", "any", "std"]
    },
    "reduce_variance": _reduction("var"),
    "reduce_logsumexp": _reduction("logsumexp"),
    **{name: _reduction(name) for name in (*_REDUCTIONS, "var", "logsumexp")},
    "argmax": orders.arg("argmax"),
    "argmin": orders.arg("argmin"),
    "softmax": _softmax("softmax"),
    "log_softmax": _softmax("log_softmax"),
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "gelu": _gelu,
    "silu": _silu,
    "swish": _silu,
    "hard_sigmoid": _hard_sigmoid,
    "getitem": shapes.getitem,
    "concat": shapes.concat,
    "concatenate": shapes.concat,
    "stack": shapes.stack,
    "add_n": _add_n,
    "reshape": shapes.reshape,
    "transpose": shapes.transpose,
    "permute_dimensions": lambda x, pattern: shapes.transpose(x, pattern),
    "squeeze": shapes.squeeze,
    "expand_dims": shapes.expand,
    "split": shapes.split,
    "unstack": shapes.unstack,
    "clip_by_value": _clip,
    "clip": _clip,
    "cast": _cast,
    "matmul": _matmul,
    "dot": _matmul,
    "pad": shapes.pad,
    "tile": shapes.tile,
    "gather": shapes.gather,
    "where": _where,
    "l2_normalize": norms.l2_normalize,
    "norm": norms.norm,
    "resize": images.resize,
    "repeat": shapes.repeat,
    "identity": _identity,
    "stop_gradient": _identity,
    "ensure_shape": lambda x, shape=None: x,
    "convert_to_tensor": _identity,
    "cumsum": orders.cumulative("cumsum"),
    "bias_add": _bias_add,
    "reverse": shapes.reverse,
    "top_k": orders.top_k,
    "shape": shapes.shape_of,
    "max_pool": shapes.pool("max_pool"),
    **{f"max_pool{n}d": shapes.pool("max_pool") for n in (1, 2, 3)},
    "avg_pool": shapes.pool("average_pool"),
    **{f"avg_pool{n}d": shapes.pool("average_pool") for n in (1, 2, 3)},
    "depth_to_space": shapes.depth_to_space,
    "space_to_depth": shapes.space_to_depth,
    "local_response_normalization": norms.response,
    "lrn": norms.response,
    "flip_left_right": shapes.flip(-2),
    "flip_up_down": shapes.flip(-3),
    "slice": shapes.cut,
    "reduce_euclidean_norm": norms.euclidean,
    "normalize": norms.normalize,
    "crelu": _crelu,
    "roll": shapes.roll,
    "resize_bilinear": images.resize_bilinear,
    "resize_nearest_neighbor": images.resize_nearest_neighbor,
    "rgb_to_grayscale": images.grayscale,
    "central_crop": images.central_crop,
    "crop_to_bounding_box": images.crop_to_bounding_box,
    "resize_with_crop_or_pad": images.crop_or_pad,
    "per_image_standardization": images.standardize,
    "adjust_contrast": images.adjust_contrast,
    "adjust_brightness": images.adjust_brightness,
    "extract_patches": images.extract_patches,
    "einsum": linear.einsum,
    "tensordot": linear.tensordot,
    "matvec": linear.matvec,
    "matrix_transpose": linear.matrix_transpose,
    "band_part": linear.band_part,
    "batch_flatten": linear.batch_flatten,
    **{name: linear.convolution("conv") for name in ("conv1d", "conv2d", "conv3d", "convolution")},
    "depthwise_conv2d": linear.convolution("depthwise_conv"),
    "strided_slice": shapes.strided,
    "broadcast_to": shapes.broadcast,
    "sort": orders.sort,
    "argsort": orders.argsort,
    "cumprod": orders.cumulative("cumprod"),
    "asinh": _unary("arcsinh"),
    "acosh": _unary("arccosh"),
    "atanh": _unary("arctanh"),
    "floor_div": _binary("floor_divide"),
    "eq": _binary("equal"),
    "ne": _binary("not_equal"),
    "one_hot": orders.one_hot,
    "rint": _unary("round"),
    "erfinv": _unary("erfinv"),
    "erfc": lambda x: 1 - _unary("erf")(x),
    "count_nonzero": orders.count_nonzero,
    "clip_by_norm": norms.clip_by_norm,
    "l2_loss": lambda t: _reduction("sum")(_unary("square")(t)) / 2,
    "adjoint": linear.matrix_transpose,
    "det": _unary("det"),
    "inv": _unary("inv"),
    "cholesky": _unary("cholesky"),
    "cross": linear.cross,
    "diag": linear.diagonal_matrix,
    "diag_part": linear.diagonal,
    "trace": linear.trace,
    "image.transpose": images.transposed,
    "rot90": images.rotated,
    "hsv_to_rgb": images.colours("hsv_to_rgb"),
    "rgb_to_hsv": images.colours("rgb_to_hsv"),
}


# Where names of the table mean something else: `strings.split`, `random.gamma`, …
_APART = frozenset({"audio", "io", "ragged", "random", "sets", "signal", "sparse", "strings"})


def find(symbol: str) -> Callable[..., Any] | None:
    """The function for a public TensorFlow or Keras name ("math.reduce_mean"), None if unknown."""
    names = [name for name in symbol.split(".") if name not in ("compat", "v1", "v2")]
    if names[0] in _APART:
        return None
    return FUNCTIONS.get(".".join(names[-2:])) or FUNCTIONS.get(names[-1])
