"""TensorFlow functions in the graph of a tf.keras model, and the `keras.ops` that mean the same.

tf.keras records `tf.nn.relu(x)` as a `TFOpLambda` with the function's public name and its
arguments; the entries below take the arguments under TensorFlow's names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import reason
from edgepress.compress.models.legacy.tf_ops import functions, graph_operations


@dataclass(frozen=True)
class Operation:
    """A function in the graph that is no layer.

    Args:
        name: Name of the saved layer.
        function: Called with the inputs and the saved arguments.
        takes_list: Whether the first argument is a list of tensors.
    """

    name: str
    function: Callable[..., Any]
    takes_list: bool = False

    @property
    def weights(self) -> list[Any]:
        """A function has none."""
        return []

    def apply(self, inputs: Any, arguments: Mapping[str, Any]) -> list[Any]:
        """Call the function on symbolic tensors; name what it recorded after the saved layer.

        Raises:
            InputError: The arguments have no counterpart.
        """
        import keras

        if isinstance(inputs, list) and len(inputs) == 1 and not self.takes_list:
            inputs = inputs[0]
        kept = {key: value for key, value in arguments.items() if key != "name"}
        known = set(_histories(keras.tree.flatten([inputs, kept])))
        try:
            output = self.function(inputs, **kept)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"'{self.name}' can't be converted: {reason(error)}",
                "replace it by a Keras layer and save the model again",
            ) from None
        found = list(keras.tree.flatten(output))
        self._name(found, known)
        return found

    def _name(self, outputs: list[Any], known: set[int]) -> None:
        """Give the recorded operations names that can't clash with a layer's."""
        pending = [t for t in outputs if hasattr(t, "_keras_history")]
        count = 0
        while pending:
            recorded = pending.pop()._keras_history.operation
            if id(recorded) in known:
                continue
            known.add(id(recorded))
            recorded.name = f"{self.name}.{count}" if count else self.name
            count += 1
            for node in recorded._inbound_nodes:
                pending += node.input_tensors


def _histories(values: list[Any]) -> list[int]:
    return [id(v._keras_history.operation) for v in values if hasattr(v, "_keras_history")]


def operation(class_name: str, config: Mapping[str, Any]) -> Operation:
    """The operation that a saved TensorFlow function or operation means.

    Raises:
        InputError: It isn't in the table.
    """
    name = str(config.get("name", class_name)).replace("/", "_")
    if class_name == "TensorFlowOpLayer":
        return graph_operation(name, config)
    if class_name not in ("TFOpLambda", "SlicingOpLambda"):
        raise InputError(
            f"'{name}' calls a method of a tensor ({class_name}), which can't be converted",
            "replace it by a Keras layer and save the model again",
        )
    symbol = str(config.get("function"))
    found = functions.find(symbol)
    if found is None:
        raise InputError(
            f"'{name}' calls tf.{symbol}, which has no known counterpart in keras.ops",
            "replace it by a Keras layer and save the model again",
        )
    return Operation(name, found, symbol.rpartition(".")[2] in functions.TAKE_LISTS)


def graph_operation(name: str, config: Mapping[str, Any]) -> Operation:
    """A `TensorFlowOpLayer`: one node of a TensorFlow graph with its constants."""
    node = graph_operations.parse_node(config["node_def"])
    constants = {int(key): value for key, value in (config.get("constants") or {}).items()}

    def function(inputs: Any) -> Any:
        given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        for index in sorted(constants):
            given.insert(index, graph_operations.constant(constants[index]))
        return graph_operations.evaluate(node, given)

    return Operation(f"tf_op_layer_{name}" if not name.startswith("tf_op") else name, function)
