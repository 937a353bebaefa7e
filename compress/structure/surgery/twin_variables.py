"""Variables that are made again with other values, without what costs most about a variable.

TensorFlow builds a kernel for the handle of each variable whose name or shape it hasn't met, three
times as long as all else about it. The name is that in its error messages on a variable without a
value; without it the handles of one shape share a kernel. A variable made here equals one that
`add_weight` makes in all else (`tests/compress/structure/test_twins.py`).
"""

from __future__ import annotations

import weakref
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from tensorflow.python.eager.context import anonymous_name
from tensorflow.python.framework.ops import uid
from tensorflow.python.ops.handle_data_util import create_handle_data
from tensorflow.python.ops.resource_variable_ops import BaseResourceVariable, ResourceVariable

if TYPE_CHECKING:
    from edgepress.compress.structure.channels.ids import Shape

_KNOWN = frozenset({
    "_name", "_path", "_shape", "_initializer", "_regularizer", "_constraint", "_trainable",
    "_autocast", "_aggregation", "_synchronization", "_layout", "_overwrite_with_gradient",
    "_dtype", "_value", "_ndim",
})  # fmt: skip


def variable_twin(
    old: keras.Variable, value: tf.Tensor, trainable: bool, path: str
) -> keras.Variable | None:
    """A variable as a layer's `add_weight` makes it, which no layer tracks yet.

    Args:
        old: A layer's variable.
        value: What the new one begins with.
        trainable: Whether training changes it.
        path: Of the layer that it is for.

    Returns:
        The new variable, without regularizer and constraint; None where the old one isn't plain,
        or where a strategy of distribution makes variables.
    """
    if type(old) is not keras.Variable or not _is_plain(old):
        return None
    new = object.__new__(keras.Variable)
    held = _resource(old, value, trainable)
    vars(new).update({name: vars(old)[name] for name in _KNOWN})
    vars(new).update(
        _path=f"{path}/{old._name}",
        _shape=tuple(value.shape),
        _trainable=trainable,
        _regularizer=None,
        _constraint=None,
        _value=held,
    )
    return new


def _is_plain(old: keras.Variable) -> bool:
    own = {name for name in vars(old) if not name.startswith("_self_")}
    held = vars(old).get("_value")
    return (
        own == _KNOWN
        and type(held) is ResourceVariable
        and not held._in_graph_mode
        and (old._initializer, old._layout, held._caching_device) == (None, None, None)
        and tf.executing_eagerly()
        and not tf.distribute.has_strategy()
    )


def _resource(old: keras.Variable, value: tf.Tensor, trainable: bool) -> tf.Variable:
    """What holds a variable's values, in the name scope of now."""
    shape = tuple(value.shape)
    name = tf.get_current_name_scope() + "/" + old._name
    handle = tf.raw_ops.VarHandleOp(dtype=value.dtype, shape=shape, shared_name=anonymous_name())
    handle._handle_data = _handle_data(shape, value.dtype)
    new = object.__new__(ResourceVariable)
    handle._parent_trackable = weakref.ref(new)
    handle._name = f"{name}:0"
    handle._unique_id = f"{name}_{uid()}"
    tf.raw_ops.AssignVariableOp(resource=handle, value=value)
    BaseResourceVariable.__init__(
        new,
        trainable=trainable,
        shape=value.shape,
        dtype=value.dtype,
        handle=handle,
        synchronization=old._value.synchronization,
        aggregation=old._value.aggregation,
        name=name,
        unique_id=handle._unique_id,
        handle_name=name,
        in_graph_mode=False,
    )
    return new


@lru_cache(maxsize=1024)
def _handle_data(shape: Shape, dtype: tf.DType) -> Any:
    """What functions are told of a variable's shape and type when they are traced."""
    return create_handle_data(tf.TensorShape(shape), dtype)
