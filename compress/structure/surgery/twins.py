"""Layers of Keras that are made again without their constructors.

A constructor reads a configuration, looks at signatures and watches every attribute, `build` draws
weights that are overwritten, and a call works out shapes that are known: for a network of 176
layers several times what all of surgery takes otherwise. The twin of a plain layer takes over its
attributes, and the few that depend on a width are set. It equals in all attributes what the
constructor, `build` and a call would have made (`tests/compress/structure/test_twins.py`);
what isn't plain is made by them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import update_wrapper
from inspect import Signature, isbuiltin, isfunction
from types import CellType, FunctionType
from typing import TYPE_CHECKING, Any

import keras
from keras.src.backend.common.name_scope import current_path
from keras.src.layers.input_spec import InputSpec
from keras.src.ops.node import Node
from keras.src.utils.tracking import TrackedDict, TrackedList, TrackedSet
from tensorflow.python.trackable.base import TrackableReference

from edgepress.compress.structure.surgery.twin_variables import variable_twin

if TYPE_CHECKING:
    import tensorflow as tf

    from edgepress.compress.structure.channels.ids import Shape

_L = keras.layers
# Read one by one: what `build` makes of a width are weights, `input_spec` and nothing else.
PLAIN: frozenset[type] = frozenset({
    _L.Dense, _L.Conv1D, _L.Conv2D, _L.Conv3D, _L.Conv1DTranspose, _L.Conv2DTranspose,
    _L.DepthwiseConv1D, _L.DepthwiseConv2D, _L.SeparableConv1D, _L.SeparableConv2D,
    _L.BatchNormalization, _L.Activation, _L.ReLU, _L.LeakyReLU, _L.ELU,
    _L.MaxPooling1D, _L.MaxPooling2D, _L.AveragePooling1D, _L.AveragePooling2D,
    _L.GlobalMaxPooling1D, _L.GlobalMaxPooling2D, _L.GlobalAveragePooling1D,
    _L.GlobalAveragePooling2D, _L.UpSampling1D, _L.UpSampling2D, _L.ZeroPadding1D,
    _L.ZeroPadding2D, _L.Cropping1D, _L.Cropping2D, _L.Flatten, _L.Add, _L.Subtract, _L.Multiply,
    _L.Average, _L.Maximum, _L.Minimum, _L.Concatenate,
})  # fmt: skip
_EMPTY = ("_inbound_nodes", "_outbound_nodes", "_losses", "_loss_ids", "_losses_override")
_WRAPPED = ("build", "quantize")
_STORES = ("_layers", "_metrics", "_seed_generators")
_MADE_NEW = frozenset({
    "_tracker", "_trainable_variables", "_non_trainable_variables", *_WRAPPED, *_STORES,
})  # fmt: skip
# What TensorFlow notes of the weights, for checkpoints: references in order, and by name.
_ACCOUNTS = (
    "_self_unconditional_checkpoint_dependencies", "_self_unconditional_dependency_names",
)  # fmt: skip
_SCALARS = (type(None), bool, int, float, str, Signature, keras.DTypePolicy)
_COPIED = (keras.Initializer, keras.Regularizer, keras.constraints.Constraint)

# From a weight of the original to what is left of it.
Left = Callable[[keras.Variable], "tf.Tensor"]


class _NotPlain(Exception):
    """A layer holds something that a twin couldn't take over."""


def twin_of(
    old: keras.Layer,
    changes: Mapping[str, Any],
    shapes: tuple[Sequence[Shape], Sequence[Shape]],
    left: Left,
) -> keras.Layer | None:
    """A layer as its constructor and `build` would make it at other sizes, used nowhere yet.

    Args:
        old: A layer in a graph.
        changes: What of its configuration changes.
        shapes: Of its inputs, as they were and as they are now.
        left: The values that each of its weights begins with.

    Returns:
        The new layer; None where the old one isn't plain.
    """
    if type(old) not in PLAIN or any(getattr(old, name) for name in _STORES):
        return None
    if not _notes_weights(old):
        return None
    # TensorFlow begins its notes on a layer when it first asks for them.
    skipped = ("_self_",) if not old.variables else ()
    own = {n: v for n, v in vars(old).items() if n not in _MADE_NEW and not n.startswith(skipped)}
    try:
        taken = {name: _taken(old, name, value, changes, shapes) for name, value in own.items()}
    except _NotPlain:
        return None
    new = _blank(old)
    made = vars(new)
    weights: list[tuple[str, keras.Variable]] = []
    for name, value in taken.items():
        if isinstance(value, keras.Variable):
            weights.append((name, value))
        elif isinstance(value, (TrackedList, TrackedDict, TrackedSet)):
            made[name] = _watched(value, new)
        else:
            made[name] = value
    _give_weights(old, new, weights, left)
    if old._tracker.locked:
        new._lock_state()
    return new


def _notes_weights(old: keras.Layer) -> bool:
    """Whether TensorFlow has noted each of a layer's weights under its attribute, and no more."""
    own = {n: v for n, v in vars(old).items() if isinstance(v, keras.Variable)}
    references, named = (vars(old).get(account, ()) for account in _ACCOUNTS)
    noted = [(r.name, r.ref) for r in references]
    return dict(named) == own and noted == list(own.items())


def record(
    layer: keras.Layer, args: Sequence[Any], kwargs: Mapping[str, Any], old: Node, shape: Shape
) -> keras.KerasTensor | None:
    """Note the call of a twin in its graph, as its symbolic call would.

    Args:
        layer: The twin.
        args: What it is called with.
        kwargs: Likewise.
        old: The call of the original.
        shape: Of what it gives.

    Returns:
        The output; None where the call has to be made, as masks travel along.
    """
    (output,) = old.output_tensors
    tensors = (*old.input_tensors, output)
    if any(isinstance(value, keras.KerasTensor) for value in kwargs.values()) or output.sparse:
        return None
    if any(getattr(t, "_keras_mask", None) is not None for t in tensors):
        return None
    made = keras.KerasTensor(shape, dtype=output.dtype)
    Node(operation=layer, call_args=args, call_kwargs=kwargs, outputs=made)
    return made


def _taken(
    old: keras.Layer,
    name: str,
    value: Any,
    changes: Mapping[str, Any],
    shapes: tuple[Sequence[Shape], Sequence[Shape]],
) -> Any:
    """What a twin has of an attribute."""
    if name in changes:
        return changes[name]
    if name in _EMPTY:
        return type(value)()
    if name == "_parent_path":
        return None
    if name in _ACCOUNTS:
        return type(value)()
    if name == "_auto_config":  # of classes without `get_config`, in which no width stands
        return value
    if name == "_build_shapes_dict" and value is not None:
        return TrackedDict({key: _moved(shape, shapes) for key, shape in value.items()})
    if isinstance(value, InputSpec):
        return _narrowed(value, shapes)
    if isinstance(value, _COPIED) and type(value).__module__.startswith("keras.src."):
        return copy.copy(value)
    if _is_simple(value):
        return value
    raise _NotPlain(f"{type(old).__name__}.{name}")


def _is_simple(value: Any) -> bool:
    if type(value) in _SCALARS or isinstance(value, keras.Variable):
        return True
    if isinstance(value, (tuple, TrackedList, TrackedSet)):
        return all(map(_is_simple, value))
    if isinstance(value, TrackedDict):
        return all(map(_is_simple, value.values()))
    return isfunction(value) or isbuiltin(value)


def _moved(value: Any, shapes: tuple[Sequence[Shape], Sequence[Shape]]) -> Any:
    """The shape that a layer was built with, or a list of them, at the sizes of now."""
    before, now = shapes
    many = bool(value) and isinstance(value[0], (tuple, list))
    given = [tuple(s) for s in value] if many else [tuple(value)]
    if given != [tuple(s) for s in before]:
        raise _NotPlain("built with another shape")
    return TrackedList([tuple(s) for s in now]) if many else tuple(now[0])


def _narrowed(spec: InputSpec, shapes: tuple[Sequence[Shape], Sequence[Shape]]) -> InputSpec:
    """What a layer takes, at the sizes of now."""
    before, now = shapes
    new = copy.copy(spec)
    if spec.shape is not None or (len(before) > 1 and spec.axes):
        raise _NotPlain("input_spec")
    if spec.axes:
        if any(before[0][axis] != size for axis, size in spec.axes.items()):
            raise _NotPlain("input_spec")
        new.axes = {axis: now[0][axis] for axis in spec.axes}
    return new


def _watched(value: Any, layer: keras.Layer) -> Any:
    """A container of plain values that the layer itself watches."""
    new = type(value)(value)
    new.tracker = layer._tracker
    return new


def _blank(old: keras.Layer) -> keras.Layer:
    """A layer as `Layer.__new__` makes it, without the look at the constructor's signature.

    A layer's own `build` and `quantize` are functions around those of its class, which hold the
    layer: here they hold the new one.
    """
    new = object.__new__(type(old))
    made = vars(new)
    made["_lock"] = True
    new._initialize_tracker()
    for name in _WRAPPED:
        around = vars(old)[name]
        held = {"obj": new, f"original_{name}_method": getattr(type(old), name).__get__(new)}
        cells = tuple(CellType(held[variable]) for variable in around.__code__.co_freevars)
        own = FunctionType(around.__code__, around.__globals__, name, None, cells)
        own.__kwdefaults__ = around.__kwdefaults__
        own.__defaults__ = around.__defaults__
        made[name] = update_wrapper(own, held[f"original_{name}_method"])
    return new


def _give_weights(
    old: keras.Layer,
    new: keras.Layer,
    weights: Sequence[tuple[str, keras.Variable]],
    left: Left,
) -> None:
    """Make the weights, in the scope in which `build` makes them."""
    trained = {id(v) for v in old._trainable_variables}
    made = vars(new)
    references, named = (made.get(account) for account in _ACCOUNTS)
    with new._open_name_scope():
        path = current_path()
        if old._path is not None:
            vars(new)["_path"] = path
        for name, before in weights:
            value, trains = left(before), id(before) in trained
            after = variable_twin(before, value, trains, path)
            if after is None:
                after = _added(new, before, value, trains)
            else:
                after.regularizer = copy.copy(before.regularizer)
                after.constraint = copy.copy(before.constraint)
                new._track_variable(after)
            made[name] = after
            references.append(TrackableReference(name, after))
            named[name] = after


def _added(
    layer: keras.Layer, before: keras.Variable, value: tf.Tensor, trainable: bool
) -> keras.Variable:
    """A weight like another, made and tracked by Keras."""

    def initial(*_shape: Any, **_dtype: Any) -> tf.Tensor:
        return value

    return layer.add_weight(
        shape=tuple(value.shape),
        initializer=initial,
        dtype=before._dtype,
        trainable=trainable,
        autocast=before._autocast,
        regularizer=copy.copy(before.regularizer),
        constraint=copy.copy(before.constraint),
        aggregation=before.aggregation,
        overwrite_with_gradient=before.overwrite_with_gradient,
        name=before.name,
    )
