"""From a Keras model to a graph on disk that converters read without the model's Python code.

The graph is a SavedModel with one signature whose inputs and outputs are named as in Keras.
Converters get it instead of the model, because that route keeps weights and names for every
architecture: `TFLiteConverter.from_concrete_functions` with a Keras 3 model silently loses the
weights, and tf2onnx's `from_keras` fails on Sequential models.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.artifact import TensorSpec
from edgepress.compress.processes.garbage import unsearched
from edgepress.deploy.exporters.layer_marks import LayerMarks, markable, marking, marks_of
from edgepress.deploy.lowerings.graph_passes import (
    fit_for_integers,
    mask_limits,
    slice_rolls,
    widen_clipped_products,
)
from edgepress.deploy.lowerings.operations import INTEGERS, Destination, lowered_operations

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
    from tensorflow.types.experimental import ConcreteFunction

    from edgepress.compress.keras_types import Nested, Tensor

SIGNATURE = "serving_default"
# Operations in a traced graph that show that it computes with its own batch size. In TFLite they
# become SHAPE, STRIDED_SLICE and PACK around every Reshape, or (loops) don't convert at all.
_COUNTS_ITS_BATCH = {"Shape", "TensorListReserve"}


@dataclass(frozen=True)
class TracedModel:
    """A model's graph on disk.

    Attributes:
        folder: The SavedModel.
        inputs: Inputs in the order of the Keras model, by their names in the graph.
        outputs: Outputs in the order of the Keras model.
        operations: TensorFlow operations of the graph, each with the name of its first node,
            which begins with the layers that it is in.
        limits: Least and largest values of inputs that mask scores, by name; see `mask_limits`.
        marks: Layers that the graph is marked with; none where it wasn't asked for.
    """

    folder: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operations: Mapping[str, str]
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    marks: LayerMarks = field(default_factory=LayerMarks)

    @property
    def counts_its_batch(self) -> bool:
        """Whether the graph computes with its batch size."""
        return not _COUNTS_ITS_BATCH.isdisjoint(self.operations)


def graph_names(names: Iterable[str]) -> list[str]:
    """Names as a graph allows them: letters, digits and underscores, each only once.

    >>> graph_names(["image:0", "2nd", "image.0"])
    ['image_0', 'x2nd', 'image_0_1']
    """
    found: list[str] = []
    for name in names:
        base = re.sub(r"\W", "_", name, flags=re.ASCII) or "x"
        base = base if base[0].isalpha() else f"x{base}"
        unique, count = base, 0
        while unique in found:
            count += 1
            unique = f"{base}_{count}"
        found.append(unique)
    return found


def input_names(model: keras.Model) -> list[str]:
    """Graph names of a model's inputs, in its order; none is a word of Python's own.

    The graph's function has them as its parameters.
    """
    names = (tensor.name for tensor in model.inputs)
    return graph_names(f"{name}_" if iskeyword(name) else name for name in names)


def output_names(model: keras.Model) -> list[str]:
    """Graph names of a model's outputs, in its order; none is an input's."""
    from edgepress.compress.data.tasks import output_names as layer_names

    names, taken = list(layer_names(model)), input_names(model)
    missing = len(model.outputs) - len(names)
    return graph_names([*taken, *names, *(f"output_{i}" for i in range(missing))])[len(taken) :]


def trace_model(
    model: keras.Model,
    folder: Path,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    destination: Destination = "float",
    marked: bool = False,
) -> TracedModel:
    """Trace a model's inference and write the graph with its weights.

    Args:
        model: A built Keras model.
        folder: Where the SavedModel goes.
        batch: Batch size, or None to leave it free.
        shapes: Sizes without the batch by input name, where the model leaves sizes free.
        destination: Whom the graph is for; see `lowered_operations`.
        marked: Whether layers are marked; see `layer_marks`.

    Returns:
        The graph.

    Raises:
        InputError: The model can't be traced, or `shapes` don't fit it.
    """
    import tensorflow as tf

    names = input_names(model)
    specs = {
        name: tf.TensorSpec(
            (batch, *fitting_shape(tensor, (shapes or {}))), tensor.dtype, name=name
        )
        for name, tensor in zip(names, model.inputs, strict=True)
    }
    layers = markable(model) if marked else []
    with lowered_operations(destination), marking(layers), unsearched():
        function = _function(model, names, specs, destination)
    holder = tf.Module()
    holder.variables_of_model = [variable.value for variable in model.variables]
    try:
        with unsearched():
            tf.saved_model.save(holder, str(folder), signatures={SIGNATURE: function})
    except AssertionError:  # a resource that isn't a variable
        raise InputError(
            f"{_table_of(model)} keeps a table that no file format has a place for",
            "look up the indices before the model",
        ) from None
    results = function.structured_outputs
    return TracedModel(
        folder=folder,
        inputs=tuple(_spec(name, specs[name]) for name in names),
        outputs=tuple(_spec(name, results[name]) for name in output_names(model)),
        operations=graph_operations(function),
        limits=mask_limits(function.graph) if destination in INTEGERS else {},
        marks=marks_of(layers, function.graph, output_names(model)) if marked else LayerMarks(),
    )


def _table_of(model: keras.Model) -> str:
    kinds = ("StringLookup", "IntegerLookup", "TextVectorization", "HashedCrossing")
    for layer in model._flatten_layers(include_self=False):
        if type(layer).__name__ in kinds:
            return f"layer '{layer.name}' ({type(layer).__name__})"
    return f"model '{model.name}'"


def _function(
    model: keras.Model, names: Sequence[str], specs: Mapping[str, Any], destination: Destination
) -> ConcreteFunction:
    """The model's inference as a concrete function of named tensors."""
    import tensorflow as tf

    from edgepress.deploy.quantize.fake_quant import written_for_converter

    outputs = output_names(model)

    def infer(**given: Nested) -> dict[str, Any]:
        tensors = [given[name] for name in names]
        structure = tf.nest.pack_sequence_as(_input_structure(model), tensors)
        flat = tf.nest.flatten(model(structure, training=False))
        # Identity: an input that is also an output, or one output twice, keeps its own name.
        named = {name: tf.identity(t, name=name) for name, t in zip(outputs, flat, strict=True)}
        # Outputs are readers of what they name, so they come before the passes.
        graph = tf.compat.v1.get_default_graph()
        widen_clipped_products(graph)
        if destination != "onnx":
            slice_rolls(graph)
        if destination in INTEGERS:
            fit_for_integers(graph, 16 if destination == "int16" else 8)
        return named

    try:
        with _inlined_functions(), written_for_converter():
            return tf.function(infer, autograph=False).get_concrete_function(**specs)
    except Exception as error:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        first = " ".join(plain.split())[:300]
        raise InputError(f"model '{model.name}' can't be traced: {first}") from error


def _input_structure(model: keras.Model) -> Any:
    structure = getattr(model, "_inputs_struct", None)
    if structure is not None:
        return structure
    return model.inputs[0] if len(model.inputs) == 1 else list(model.inputs)


@contextmanager
def _inlined_functions() -> Iterator[None]:
    """Trace through inner `tf.function`s.

    Keras wraps grouped convolutions in one of its own (compiled by XLA); the call that it would
    leave in the graph is an operator that no ONNX runtime knows.
    """
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def fitting_shape(
    tensor: keras.KerasTensor, shapes: Mapping[str, Sequence[int]]
) -> tuple[int | None, ...]:
    """An input's sizes without the batch, those that it leaves free as they are asked for.

    Raises:
        InputError: What is asked for doesn't fit the input.
    """
    own = tuple(tensor.shape[1:])
    given = tuple(shapes.get(tensor.name, own))
    fits = len(own) == len(given) and all(
        o is None or o == g for o, g in zip(own, given, strict=True)
    )
    if not fits:
        raise InputError(f"input '{tensor.name}' has shape {own}, which {given} does not match")
    return given


def _spec(name: str, tensor: Tensor | tf.TensorSpec) -> TensorSpec:
    return TensorSpec(name, tuple(tensor.shape), tensor.dtype.name)


def graph_operations(function: ConcreteFunction) -> dict[str, str]:
    """All operations of a function by type with their first node, inner functions included."""
    definition = function.graph.as_graph_def()
    found: dict[str, str] = {}
    for nodes in (definition.node, *(f.node_def for f in definition.library.function)):
        for node in nodes:
            found.setdefault(node.op, node.name)
    return found
