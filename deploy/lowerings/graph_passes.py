"""Changes to a graph for converters and integer kernels, made while it is traced.

What is wrong with a graph may lie between operations, wherever they come from: layers,
`keras.ops`, a user's own code. So these passes look at the graph and not at the functions that
wrote it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf
    from numpy.typing import ArrayLike, NDArray

# exp(-20) is 2e-9: a masked score adds nothing to a softmax whose output has 8 or 16 bits, and the
# scores beside it keep most levels of their integer type.
MASKED = 20.0
HUGE = 1e3
# Operations between a score and its softmax that keep or move values, or add a mask.
_PASSING = frozenset({
    "Add", "AddV2", "BiasAdd", "BroadcastTo", "Cast", "ExpandDims", "Identity", "Maximum",
    "Minimum", "Mul", "Neg", "RealDiv", "Reshape", "Select", "SelectV2", "Squeeze",
    "StridedSlice", "Sub", "Tile", "Transpose",
})  # fmt: skip
# TFLite's quantiser gives the inputs of these the range of their output.
_ONE_RANGE = frozenset({"ClipByValue", "Maximum", "Minimum", "Select", "SelectV2"})
# And the inputs of these share the range of their output, whichever way it comes.
_MOVING = frozenset({
    "ConcatV2", "ExpandDims", "Identity", "MaxPool", "Pack", "Reshape", "Slice", "Squeeze",
    "StridedSlice", "Transpose",
})  # fmt: skip
_MOVING_ONE = frozenset({
    "ExpandDims", "Identity", "Reshape", "Slice", "Squeeze", "StridedSlice", "Transpose",
})  # fmt: skip
# Operations in a graph for floats that show that its graph for integers may be another.
CHANGED_FOR_INTEGERS = _ONE_RANGE | {"Cast", "OneHot", "Softmax"}
_CLIPPING = frozenset({"ClipByValue", "Maximum", "Minimum", "Relu", "Relu6"})
# Products of matrices, and what their attributes for transposed factors are called.
_PRODUCTS = {
    "BatchMatMul": ("adj_x", "adj_y"),
    "BatchMatMulV2": ("adj_x", "adj_y"),
    "MatMul": ("transpose_a", "transpose_b"),
}
_STEP = 2.0**-24  # between 32-bit floats just below 1


def widen_clipped_products(graph: tf.Graph) -> None:
    """Give products of two activations that a ReLU or clip reads a third axis, of one.

    TensorFlow's converter makes of a matrix product and a ReLU one operator, and loses the ReLU
    where both factors are computed; of products of more axes it doesn't.

    Args:
        graph: A `tf.Graph` under construction.
    """
    import tensorflow as tf

    for operation in graph.get_operations():
        if operation.type not in _CLIPPING:
            continue
        for place, tensor in enumerate(operation.inputs):
            product = tensor.op
            if product.type not in _PRODUCTS or len(tensor.shape) != 2:
                continue
            if not all(_is_computed(factor) for factor in product.inputs):
                continue
            of_x, of_y = (product.get_attr(name) for name in _PRODUCTS[product.type])
            with graph.as_default():
                x, y = tf.expand_dims(product.inputs[0], 0), product.inputs[1]
                wide = tf.raw_ops.BatchMatMulV2(x=x, y=y, adj_x=of_x, adj_y=of_y)
                operation._update_input(place, tf.squeeze(wide, [0]))


def slice_rolls(graph: tf.Graph) -> None:
    """Write rolls along axes of known sizes as two slices that change places: TFLite has no roll.

    Args:
        graph: A `tf.Graph` under construction.
    """
    import tensorflow as tf

    for operation in graph.get_operations():
        if operation.type != "Roll":
            continue
        x, *steps = operation.inputs
        shifts, axes = (tf.get_static_value(tensor) for tensor in steps)
        if shifts is None or axes is None:
            continue
        places = [int(axis) % len(x.shape) for axis in np.ravel(axes)]
        if None in [x.shape[place] for place in places]:
            continue
        with graph.as_default():
            for shift, place in zip(np.ravel(shifts), places, strict=True):
                before = [slice(None)] * place
                if cut := -int(shift) % x.shape[place]:
                    x = tf.concat([x[*before, cut:], x[*before, :cut]], place)
        _read_instead(operation.outputs[0], x)


def _read_instead(tensor: tf.Tensor, other: tf.Tensor) -> None:
    """Let what reads a tensor read another one."""
    for reader in tensor.consumers():
        for place, given in enumerate(reader.inputs):
            if given is tensor:
                reader._update_input(place, other)


def _is_computed(tensor: tf.Tensor) -> bool:
    """Whether a tensor depends on an input of the graph; its variables are inputs of no number."""
    import tensorflow as tf

    seen: set[str] = set()
    left = [tensor.op]
    while left:
        operation = left.pop()
        if operation.name in seen:
            continue
        seen.add(operation.name)
        if operation.type == "Placeholder" and operation.outputs[0].dtype != tf.resource:
            return True
        left.extend(given.op for given in operation.inputs)
    return False


def fit_for_integers(graph: tf.Graph, bits: int) -> None:
    """Bound masks, part shared tensors and keep indices whole in a graph that is being traced.

    Args:
        graph: A `tf.Graph` under construction, its outputs made.
        bits: Of the activations, 8 or 16.
    """
    keep_whole_numbers(graph)
    encode_by_distances(graph)
    bound_masks(graph)
    if bits == 16:
        select_by_sums(graph)
    part_shared_inputs(graph)


def keep_whole_numbers(graph: tf.Graph) -> None:
    """Lead whole numbers around the floats that they become and stop being.

    As a float an index is stored on the levels of an integer type, and the next smaller number is
    what is left of it: an index of 3 on levels of 9/255 is 2.

    Args:
        graph: A `tf.Graph` under construction.
    """
    import tensorflow as tf

    for operation in graph.get_operations():
        if operation.type != "Cast" or not operation.outputs[0].dtype.is_integer:
            continue
        source = operation.inputs[0]
        moves: list[tf.Operation] = []
        while source.dtype.is_floating and source.op.type in _MOVING_ONE:
            moves.insert(0, source.op)
            source = source.op.inputs[0]
        if source.op.type != "Cast" or not source.op.inputs[0].dtype.is_integer:
            continue
        with graph.as_default():
            whole = tf.cast(source.op.inputs[0], operation.outputs[0].dtype)
            for move in moves:
                options = {n: v for n, v in move.node_def.attr.items() if n != "T"}
                inputs = [whole, *move.inputs[1:]]
                whole = graph.create_op(move.type, inputs, [whole.dtype], attrs=options).outputs[0]
        _read_instead(operation.outputs[0], whole)


def encode_by_distances(graph: tf.Graph) -> None:
    """Write one-hot codes of floats by how far an index is from each possible one.

    TensorFlow's quantiser gives the two values of a code scales of their own, and the kernel copies
    them as they are: 0 became 0.5. Whether numbers are equal would be made a code of that kind
    again.

    Args:
        graph: A `tf.Graph` under construction.
    """
    import tensorflow as tf

    for operation in graph.get_operations():
        if operation.type != "OneHot" or not operation.outputs[0].dtype.is_floating:
            continue
        indices, *given = operation.inputs
        depth, *values = (tf.get_static_value(tensor) for tensor in given)
        if depth is None or values != [1, 0]:
            continue
        with graph.as_default():
            rank, axis = len(indices.shape), operation.get_attr("axis")
            behind = 0 if axis == -1 else rank - axis
            every = tf.constant(np.arange(depth).reshape(-1, *[1] * behind), tf.int32)
            one = tf.expand_dims(tf.cast(indices, tf.int32), rank - behind)
            codes = tf.maximum(1 - tf.abs(one - every), 0)
            codes = tf.cast(codes, operation.outputs[0].dtype)
        _read_instead(operation.outputs[0], codes)


def select_by_sums(graph: tf.Graph) -> None:
    """Selections by a constant as `no + chosen * (yes - no)`.

    TensorFlow's quantiser has no 16 bits for SELECT_V2, and gives what SELECT chooses from and its
    result scales of their own, between which the kernel copies numbers as they are.

    Args:
        graph: A `tf.Graph` under construction.
    """
    import tensorflow as tf

    for operation in graph.get_operations():
        if operation.type != "SelectV2":
            continue
        chosen, yes, no = operation.inputs
        constants = [tf.get_static_value(tensor) for tensor in (yes, no)]
        finite = all(value is None or np.all(np.isfinite(value)) for value in constants)
        if not yes.dtype.is_floating or not finite or _is_computed(chosen):
            continue
        with graph.as_default():
            found = no + tf.cast(chosen, no.dtype) * (yes - no)
        _read_instead(operation.outputs[0], found)


def bound_masks(graph: tf.Graph) -> None:
    """Bound what masks scores before a softmax.

    A mask of -1e9 or -2e38 decides the range of the scores, which are then all one level of an
    integer type, so that attention becomes uniform.

    Args:
        graph: A `tf.Graph` under construction.
    """
    import tensorflow as tf

    for operation, factor in _before_softmax(graph):
        # What divides isn't a mask.
        for place, tensor in enumerate(
            operation.inputs[: 1 if operation.type == "RealDiv" else None]
        ):
            value = _huge_constant(tensor)
            if value is not None:
                most = MASKED / factor
                with graph.as_default():
                    operation._update_input(place, tf.constant(np.clip(value, -most, most)))


def mask_limits(graph: tf.Graph) -> dict[str, tuple[float, float]]:
    """Least and largest values that matter of inputs that are added to scores, or taken from them.

    An input of 0 and -1e9 masks no more than one of 0 and -20, whose integers have levels left
    for the scores. What lies beyond the range of an input saturates.

    Args:
        graph: A `tf.Graph` under construction.

    Returns:
        The limits by the input's name.
    """
    found: dict[str, tuple[float, float]] = {}
    for operation, factor in _before_softmax(graph):
        if operation.type not in ("Add", "AddV2", "BiasAdd", "Sub"):
            continue
        most = MASKED / factor
        for place, tensor in enumerate(operation.inputs):
            source = _source(tensor)
            if source.type != "Placeholder" or not tensor.dtype.is_floating:
                continue
            if operation.type != "Sub":
                found[source.name] = -most, np.inf
            elif place == 1:
                found[source.name] = -np.inf, most
    return found


def _source(tensor: tf.Tensor) -> tf.Operation:
    """The operation that a tensor's values were moved from."""
    while tensor.op.type in _MOVING | {"BroadcastTo", "Tile"}:
        tensor = tensor.op.inputs[0]
    return tensor.op


def _before_softmax(graph: tf.Graph) -> list[tuple[tf.Operation, float]]:
    """Operations whose results reach a softmax by sums, selections and moves alone.

    Each with the constant factor that is between it and the softmax.
    """
    found: dict[str, tuple[Any, float]] = {}
    left = [(op.inputs[0].op, 1.0) for op in graph.get_operations() if op.type == "Softmax"]
    while left:
        operation, factor = left.pop()
        if operation.name not in found and operation.type in _PASSING:
            found[operation.name] = operation, factor
            before = factor * _scale(operation)
            left.extend((tensor.op, before) for tensor in operation.inputs)
    return list(found.values())


def _scale(operation: tf.Operation) -> float:
    """What an operation multiplies its input by, where that is one constant that masks nothing."""
    import tensorflow as tf

    if operation.type not in ("Mul", "RealDiv"):
        return 1.0
    values = [tf.get_static_value(tensor) for tensor in operation.inputs]
    if operation.type == "RealDiv":
        return 1 / scale_of(values[1])
    return scale_of(values[0]) * scale_of(values[1])


def scale_of(value: ArrayLike | None) -> float:
    """A constant factor of scores, without its sign; 1 for what is none, and for a mask."""
    if value is None or np.size(value) != 1:
        return 1.0
    size = abs(float(np.reshape(value, ())))
    return size if 0 < size < HUGE else 1.0


def _huge_constant(tensor: tf.Tensor) -> NDArray[Any] | None:
    """The value of a constant of floats with huge numbers in it, infinite ones too; else None.

    A weight is a constant, too: masks are kept in weights that aren't trained.
    """
    import tensorflow as tf

    if not tensor.dtype.is_floating:
        return None
    if tensor.op.type == "ReadVariableOp":
        value = _weight(tensor)
    else:
        value = tf.get_static_value(tensor) if tensor.op.type == "Const" else None
    return value if value is not None and np.any(np.abs(value) >= HUGE) else None


def _weight(tensor: tf.Tensor) -> NDArray[Any] | None:
    """What is read from the variable that a graph captures; None if it captures none."""
    import tensorflow as tf

    read, captures = tensor.op.inputs[0], tensor.graph.captures
    outside = next((outer for outer, inner in captures if inner is read), None)
    if outside is None:
        return None
    with tf.init_scope():
        return tf.raw_ops.ReadVariableOp(resource=outside, dtype=tensor.dtype).numpy()


def part_shared_inputs(graph: tf.Graph) -> None:
    """Give what a minimum, maximum or clip reads a range of its own, where others read it too.

    The quantiser gives it the range of the result, and the other readers get clipped values: of
    `x - clip(x)` nothing would be left. A leaky ReLU with the slope of 1 stands between, since
    converters fold away what they know to change nothing, and its output may have another range.
    No two have the same slope: equal operators on one tensor are made one.

    Args:
        graph: A `tf.Graph` under construction.
    """
    import tensorflow as tf

    count = 0
    for operation in graph.get_operations():
        if operation.type not in _ONE_RANGE or _is_relu(operation):
            continue
        for place, tensor in enumerate(operation.inputs):
            if not tensor.dtype.is_floating or not _is_shared(tensor):
                continue
            count += 1
            with graph.as_default():
                parted = tf.nn.leaky_relu(tensor, alpha=1 - count * _STEP)
            operation._update_input(place, parted)


def _is_shared(tensor: tf.Tensor) -> bool:
    """Whether others read a tensor, or what it was moved from, and so would get its range."""
    if tensor.op.type == "Const":
        return False
    if len({id(op) for op in tensor.consumers()}) > 1:
        return True
    return tensor.op.type in _MOVING and any(_is_shared(given) for given in tensor.op.inputs)


def _is_relu(operation: tf.Operation) -> bool:
    """Whether a maximum is one with zero, which converters write as RELU, of two ranges."""
    import tensorflow as tf

    values = [tf.get_static_value(tensor) for tensor in operation.inputs]
    return operation.type == "Maximum" and any(v is not None and not np.any(v) for v in values)
