"""Layers of unknown classes in SavedModels, rebuilt from the graph that was traced of their call.

A SavedModel holds, for each layer, the TensorFlow graph of its `call`. The graph is read as data
and recorded again with `keras.ops`, node by node; a node that isn't in the table of
`graph_operations` refuses the layer. Nothing of the graph is run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError
from edgepress.compress.models.legacy.formats.saved_model import Tensor
from edgepress.compress.models.legacy.tf_ops import graph_operations
from edgepress.compress.models.legacy.tf_ops.operations import Operation

if TYPE_CHECKING:
    import keras
    from tensorflow.core.framework.function_pb2 import FunctionDef
    from tensorflow.core.framework.node_def_pb2 import NodeDef

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_PASSED_ON = ("Identity", "ReadVariableOp", "StopGradient", "PreventGradient", "Snapshot")
_SMALL = 64


@dataclass(frozen=True)
class Capture:
    """An array that a traced function holds: a weight or a constant."""

    name: str
    value: Tensor
    trainable: bool


class Traced:
    """A layer that is known only by its traced function.

    Args:
        name: The layer.
        function: Its function.
        library: Every function of the file, by name.
        captures: What the function holds, in the order of its last arguments.
    """

    def __init__(
        self,
        name: str,
        function: FunctionDef,
        library: Mapping[str, FunctionDef],
        captures: Sequence[Capture],
    ) -> None:
        self.name = name
        self.function = function
        self.library = library
        self.captures = captures
        self.parameters: dict[int, Any] = {}

    @property
    def weights(self) -> list[Any]:
        """Empty: its arrays are given when it is called, not moved afterwards."""
        return []

    def apply(self, inputs: Any, arguments: Mapping[str, Any]) -> list[keras.KerasTensor]:
        """Record the function on symbolic inputs.

        Raises:
            InputError: It uses an operation that isn't known.
        """
        import keras

        tensors = [t for t in keras.tree.flatten([inputs, dict(arguments)]) if _symbolic(t)]
        known = Operation(self.name, lambda _x: self._call(tensors), takes_list=True)
        return known.apply(tensors, {})

    def _call(self, tensors: list[keras.KerasTensor]) -> list[keras.KerasTensor]:
        held = [self._held(place, tensors[0]) for place in range(len(self.captures))]
        wanted = len(self.function.signature.input_arg)
        if len(tensors) + len(held) != wanted:
            raise InputError(
                f"layer '{self.name}' is called with {len(tensors)} tensors, its traced function "
                f"takes {wanted - len(held)}",
                "pass a file that defines its class with --custom-objects file.py",
            )
        found = self._run(self.function, [*tensors, *held], tensors[0])
        return [value for value in found if value is not None]

    def _held(self, place: int, anchor: keras.KerasTensor) -> keras.KerasTensor:
        """A captured array: small constants as they are, all else as a parameter of a layer."""
        capture = self.captures[place]
        if not capture.trainable and capture.value.size <= _SMALL:
            return capture.value
        return self._parameter(place, f"{self.name}_{capture.name}", capture, anchor)

    def _parameter(
        self, key: int, name: str, capture: Capture, anchor: keras.KerasTensor
    ) -> keras.KerasTensor:
        from edgepress.compress.models.compat_layers.custom import SavedParameter

        if key not in self.parameters:
            layer = SavedParameter(
                capture.value.shape,
                dtype=str(capture.value.dtype),
                trainable=capture.trainable,
                name=name.replace("/", "_").replace(":", "_"),
            )
            layer.build(None)
            layer.value.assign(capture.value)
            self.parameters[key] = layer
        return self.parameters[key](anchor)

    def _run(
        self, function: FunctionDef, arguments: list[keras.KerasTensor], anchor: keras.KerasTensor
    ) -> list[keras.KerasTensor]:
        """Record a function, from its results backwards: what no result needs is left out."""
        names = [argument.name for argument in function.signature.input_arg]
        values: dict[str, Any] = dict(zip(names, arguments, strict=True))
        nodes = {node.name: node for node in function.node_def}
        outputs = [argument.name for argument in function.signature.output_arg]
        wanted = [function.ret[name] for name in outputs]
        pending = [_source(text) for text in wanted]
        while pending:
            name = pending[-1]
            if name in values:
                pending.pop()
                continue
            sources = [text for text in nodes[name].input if not text.startswith("^")]
            missing = [_source(text) for text in sources if _source(text) not in values]
            if missing:
                pending += missing
                continue
            operands = [_pick(values, text) for text in sources]
            values[name] = self._node(nodes[name], operands, anchor)
        return [_pick(values, text) for text in wanted]

    def _node(self, node: NodeDef, operands: list[Any], anchor: keras.KerasTensor) -> Any:
        if node.op in _CALLS:
            inner = self.library.get(node.attr["f"].func.name)
            if inner is None:
                raise InputError(
                    f"'{node.name}' calls a function that the file lacks", "save the model again"
                )
            return self._run(inner, operands, anchor)
        if node.op == "Const":
            return self._constant(node, anchor)
        if node.op in _PASSED_ON:
            return operands[0]
        result = graph_operations.evaluate(_parsed(node), operands)
        if not any(_symbolic(operand) for operand in operands) and hasattr(result, "numpy"):
            return np.asarray(result)
        return result

    def _constant(self, node: NodeDef, anchor: keras.KerasTensor) -> NDArray[Any]:
        from tensorflow import make_ndarray

        value = np.asarray(make_ndarray(node.attr["value"].tensor))
        if value.dtype.kind != "f" or value.size <= _SMALL:
            return value
        key = hash((node.name, value.tobytes()))
        capture = Capture(node.name, value, trainable=False)
        return self._parameter(key, f"{self.name}_{node.name}", capture, anchor)


def _symbolic(value: Any) -> bool:
    return hasattr(value, "_keras_history")


def _source(text: str) -> str:
    """The node that a reference like "add:z:0" names."""
    return text.partition(":")[0]


def _pick(values: Mapping[str, Any], text: str) -> keras.KerasTensor | NDArray[Any]:
    """The value that a reference names: of a node with several outputs, the numbered one."""
    value = values[_source(text)]
    parts = text.split(":")
    if isinstance(value, list | tuple):
        return value[int(parts[-1])] if len(parts) > 1 else value[0]
    return value


def _parsed(node: NodeDef) -> graph_operations.Node:
    from google.protobuf.json_format import MessageToDict

    attributes = {
        key: MessageToDict(value, preserving_proto_field_name=True)
        for key, value in node.attr.items()
    }
    return graph_operations.Node(node.name, node.op, attributes)
