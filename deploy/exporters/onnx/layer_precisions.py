"""The child's part of a precision for each layer of an ONNX file: int8, or floats of 32 or 16 bits.

ONNX Runtime's quantiser leaves nodes out that it is told to. A node without weights whose
neighbours round what it reads and what it gives is one of int8 all the same: its kernels see the
same pairs of operators around both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from edgepress.deploy.exporters.layer_marks import Chain, Layers, unmarked_names
from edgepress.deploy.exporters.onnx.names import rename

if TYPE_CHECKING:
    import onnx

_FLOATS = ("float32", "float16")
_ROUNDING = frozenset({"Cast", "DequantizeLinear", "QuantizeLinear"})
_REFUSED = {
    "int16x8": "ONNX Runtime has no kernels for int16 activations with int8 weights",
    "int4": "files of opset 18 and before have no numbers of 4 bits",
}


def refusal(precision: str) -> str:
    """Why layers of ONNX files can't have a precision; empty where they can."""
    return _REFUSED.get(precision, "")


class LayeredModel:
    """An ONNX model whose nodes are known by their layers.

    Args:
        model: The model, its names still with marks.
        layers: The layers of the graph that it was made from.
    """

    def __init__(self, model: onnx.ModelProto, layers: Layers) -> None:
        self.graph = model.graph
        self.layers = layers
        self._constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self._makers = {name: node for node in self.graph.node for name in node.output}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.graph.node:
            for name in set(node.input):
                self._readers.setdefault(name, []).append(node)

    def computing(self) -> Iterator[tuple[onnx.NodeProto, list[Chain]]]:
        """The nodes that don't merely change a type, each with its layers."""
        named_nodes = [(node, self._named(node)) for node in self.graph.node]
        named_nodes = [
            (node, chains) for node, chains in named_nodes if node.op_type not in _ROUNDING
        ]
        present = {chain[-1] for _, chains in named_nodes for chain in chains}
        # A kernel that a normalisation was folded into bears the name of that.
        folded = {
            near: place
            for place in sorted(self.layers.weighted - present)
            for near in self.layers.readers(place)
        }
        for node, chains in named_nodes:
            if self.kernels(node):
                chains += [(folded[c[-1]],) for c in chains if c[-1] in folded]
            yield node, chains

    def _named(self, node: onnx.NodeProto) -> list[Chain]:
        found = self.layers.named(node.name)
        return found or [chain for name in node.output for chain in self.layers.end(name)]

    def kernels(self, node: onnx.NodeProto) -> list[onnx.TensorProto]:
        """A node's constants of two axes and more, those too whose type is changed before."""
        found = []
        for name in node.input:
            maker = self._makers.get(name)
            if maker is not None and maker.op_type in _ROUNDING:
                name = maker.input[0]
            if name in self._constants and len(self._constants[name].dims) > 1:
                found.append(self._constants[name])
        return found

    def precision(self, node: onnx.NodeProto) -> str:
        """The precision that a node computes in, read off what is around it."""
        import onnx

        kinds = {tensor.data_type for tensor in self.kernels(node)}
        if onnx.TensorProto.FLOAT16 in kinds:
            return "float16"
        if onnx.TensorProto.FLOAT in kinds:
            return "float32"
        makers = [self._makers.get(n) for n in node.input if n and n not in self._constants]
        readers = [r for n in node.output for r in self._readers.get(n, ())]
        rounded = all(m is not None and m.op_type == "DequantizeLinear" for m in makers)
        if kinds:
            return "int8" if rounded else "float32"
        given = readers and all(r.op_type == "QuantizeLinear" for r in readers)
        return "int8" if rounded and given else "float32"


def name_nodes(model: onnx.ModelProto) -> None:
    """Give each node a name by which the quantiser knows it; changes the model."""
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"


def kept_in_floats(model: onnx.ModelProto, layers: Layers) -> list[str]:
    """The nodes of a float model that its int8 file keeps in floats, by name.

    Raises:
        ValueError: Nothing would be left to quantise.
    """
    named_model = LayeredModel(model, layers)
    kept, left = [], 0
    for node, chains in named_model.computing():
        if layers.precision(chains) in _FLOATS:
            kept.append(node.name)
        else:
            left += bool(named_model.kernels(node))
    if kept and not left:
        raise ValueError(
            "with these layers in floats nothing of the file would be in integers: export float32,"
            " or name fewer layers"
        )
    return kept


def with_half_floats(model: onnx.ModelProto, layers: Layers) -> None:
    """Store the kernels of layers that are to have them in 16-bit floats so; changes the model."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    named_model = LayeredModel(model, layers)
    wanted = [n for n, chains in named_model.computing() if layers.precision(chains) == "float16"]
    done: set[str] = set()
    casts = []
    for node in wanted:
        for tensor in named_model.kernels(node):
            name = tensor.name
            if tensor.data_type != onnx.TensorProto.FLOAT:
                continue
            if name not in done:
                done.add(name)
                half = numpy_helper.to_array(tensor).astype(np.float16)
                model.graph.initializer.append(numpy_helper.from_array(half, f"{name}_half"))
                casts.append(
                    helper.make_node(
                        "Cast",
                        [f"{name}_half"],
                        [f"{name}_wide"],
                        f"{name}_wide",
                        to=onnx.TensorProto.FLOAT,
                    )
                )
            node.input[list(node.input).index(name)] = f"{name}_wide"
    nodes = [*casts, *model.graph.node]
    read = {name for node in nodes for name in node.input}
    unread = [t for t in model.graph.initializer if t.name in done and t.name not in read]
    for tensor in unread:
        model.graph.initializer.remove(tensor)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def precisions_by_layer(model: onnx.ModelProto, layers: Layers) -> dict[str, str]:
    """The precision that each layer got which a rule matches, read off the model.

    Raises:
        ValueError: A layer has another precision than it was to have, or a rule matches no node.
    """
    named_model = LayeredModel(model, layers)
    got: dict[str, set[str]] = {}
    wanted: dict[str, str] = {}
    for node, chains in named_model.computing():
        found = named_model.precision(node)
        for name in {layers.names[place] for chain in chains for place in chain} & layers.asked:
            got.setdefault(name, set()).add(found)
            wanted[name] = layers.precision(chains)
    for name, asked in wanted.items():
        if asked in _FLOATS and got[name] == {"int8"}:
            raise ValueError(
                f"layer '{name}' has no weights, and its neighbours round what it reads and gives:"
                " ONNX Runtime computes it in int8 all the same; name its neighbours too"
            )
    return layers.by_name(got)


def unmark(model: onnx.ModelProto) -> None:
    """Give a model's nodes and tensors their names without marks."""
    graph = model.graph
    fixed = {value.name for value in (*graph.input, *graph.output)}
    names = {name for node in graph.node for name in (*node.input, *node.output)}
    tensors: Mapping[str, str] = unmarked_names(sorted(names - fixed - {""}))
    rename(graph, {old: new for old, new in tensors.items() if old != new})
    nodes: Mapping[str, Any] = unmarked_names(node.name for node in graph.node)
    for node in graph.node:
        node.name = nodes[node.name]
