"""The child's part of a precision for each layer of a TFLite file.

TensorFlow's quantiser keeps operators in floats that it is told to. What it doesn't know is
written into its file afterwards: weights in 16-bit floats as its own float16 files hold them, and
int4 weights for kernels that LiteRT unpacks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from edgepress.benchmarks.tflite.graph import operator_kinds, packed
from edgepress.deploy.exporters.layer_marks import Chain, Layers, alike, unmarked_names
from edgepress.deploy.exporters.tflite.stored_weights import (
    FOUR_BITS,
    in_four_bits,
    in_half_floats,
)

if TYPE_CHECKING:
    from ai_edge_litert import schema_py_generated as schema

_ROUNDING = frozenset({"CAST", "DEQUANTIZE", "QUANTIZE"})
_MOVING = frozenset({
    "BROADCAST_TO", "CONCATENATION", "EXPAND_DIMS", "GATHER", "PACK", "PAD", "RESHAPE",
    "REVERSE_V2", "SLICE", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TILE", "TRANSPOSE",
    "UNPACK",
})  # fmt: skip
_FLOATS = ("float32", "float16")


class LayeredFile:
    """A TFLite file whose operators are known by their layers.

    Args:
        content: The file, its names still with marks.
        layers: The layers of the graph that it was made from.
    """

    def __init__(self, content: bytes, layers: Layers) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.size = len(content)
        self.layers = layers
        self.model = schema.ModelT.InitFromPackedBuf(content, 0)
        self.graph = self.model.subgraphs[0]
        self._kinds = operator_kinds(self.model)
        self._types = {v: n for n, v in vars(schema.TensorType).items() if not n.startswith("_")}
        for operator in self.graph.operators:
            operator.inputs = [int(tensor) for tensor in listed(operator.inputs)]
            operator.outputs = [int(tensor) for tensor in listed(operator.outputs)]
        self._makers = {int(t): op for op in self.graph.operators for t in op.outputs}
        self._readers: dict[int, list[schema.OperatorT]] = {}
        for operator in self.graph.operators:
            for tensor in set(operator.inputs):
                self._readers.setdefault(tensor, []).append(operator)
        self._ends = {
            entry.tensorIndex: entry.name.decode()
            for signature in self.model.signatureDefs or ()
            for entry in signature.outputs
        }

    def kind(self, operator: schema.OperatorT) -> str:
        """An operator's name."""
        return self._kinds[operator.opcodeIndex]

    def computing(self) -> Iterator[tuple[schema.OperatorT, list[Chain]]]:
        """The operators that don't merely change a type, each with its layers."""
        named_operators = [
            (op, self._named(op), self._kernels(op))
            for op in self.graph.operators
            if self.kind(op) not in _ROUNDING
        ]
        holders: dict[int, set[int]] = {}
        for operator, _, kernels in named_operators:
            for chain in kernels:
                holders.setdefault(chain[-1], set()).add(id(operator))
        for operator, named, kernels in named_operators:
            # A layer whose kernel another operator reads is computed there: the name is one of
            # constants that were made one.
            own = [
                chain
                for place, chain in enumerate(named)
                if not place or id(operator) in holders.get(chain[-1], {id(operator)})
            ]
            yield operator, list(dict.fromkeys([*own, *kernels]))

    def _named(self, operator: schema.OperatorT) -> list[Chain]:
        found = [c for t in operator.outputs for c in self.layers.named(self.name(int(t)))]
        return found or [c for t in operator.outputs for c in self._end(int(t))]

    def _end(self, tensor: int) -> list[Chain]:
        """The layer that gives the output that a tensor is, or becomes by another type."""
        if tensor in self._ends:
            return self.layers.end(self._ends[tensor])
        rounding = [op for op in self._readers.get(tensor, ()) if self.kind(op) in _ROUNDING]
        return [chain for op in rounding for chain in self._end(int(op.outputs[0]))]

    def _kernels(self, operator: schema.OperatorT) -> list[Chain]:
        """The layers of those kernels that no other operator reads."""
        found: list[Chain] = []
        for tensor in self.constants(operator):
            if self._is_kernel(tensor) and len(self._readers.get(tensor, ())) == 1:
                found += self.layers.named(self.name(tensor))
        return found

    def _is_kernel(self, tensor: int) -> bool:
        shape = self.graph.tensors[tensor].shape
        many = shape is not None and sum(size > 1 for size in shape) > 1
        return self.type(tensor) in _WEIGHTS and many

    def name(self, tensor: int) -> str:
        """A tensor's name."""
        return str(self.graph.tensors[tensor].name.decode())

    def type(self, tensor: int) -> str:
        """A tensor's type by name."""
        return self._types[self.graph.tensors[tensor].type]

    def constants(self, operator: schema.OperatorT) -> list[int]:
        """An operator's constants, those too that a DEQUANTIZE stands before."""
        found = []
        for tensor in operator.inputs:
            maker = self._makers.get(tensor)
            if maker is not None and self.kind(maker) == "DEQUANTIZE":
                tensor = int(maker.inputs[0])
            if tensor >= 0 and self._holds(tensor):
                found.append(tensor)
        return found

    def _holds(self, tensor: int) -> bool:
        return self.model.buffers[self.graph.tensors[tensor].buffer].data is not None

    def precision(self, operator: schema.OperatorT) -> str:
        """The precision that an operator computes in, read off its tensors; "" for indices."""
        constants = self.constants(operator)
        makers = [self._makers.get(int(t)) for t in operator.inputs]
        read = [
            int(t)
            for t, maker in zip(operator.inputs, makers, strict=True)
            if int(t) >= 0
            and int(t) not in constants
            and (maker is None or int(maker.inputs[0]) not in constants)
        ]
        values = {self.type(t) for t in (*read, *map(int, operator.outputs))}
        weights = {self.type(t) for t in constants if self._is_kernel(t)}
        if "FLOAT32" in values:
            stored = {"FLOAT16": "float16", "INT8": "dynamic", "INT4": "int4-weights"}
            return next((stored[w] for w in sorted(weights) if w in stored), "float32")
        if "INT16" in values:
            return "int16x8"
        if values & {"INT8", "UINT8"}:
            return "int4" if "INT4" in weights else "int8"
        return ""

    def has_kernel(self, operator: schema.OperatorT) -> bool:
        """Whether an operator has weights that could be stored in fewer bits."""
        return any(self._is_kernel(t) for t in self.constants(operator))


def listed(tensors: Sequence[int] | None) -> Sequence[int]:
    """An operator's tensors; the schema has None for an empty list."""
    return () if tensors is None else tensors


_WEIGHTS = frozenset({"FLOAT32", "FLOAT16", "INT8", "INT4"})


def kept_in_floats(content: bytes, layers: Layers) -> list[str]:
    """The tensors of a calibrated float file that its integer file keeps in floats.

    Raises:
        ValueError: Nothing would be left to quantise.
    """
    file = LayeredFile(content, layers)
    kept, left = [], 0
    for operator, chains in file.computing():
        if layers.precision(chains) in _FLOATS:
            kept += [file.name(int(t)) for t in operator.outputs]
        else:
            left += 1
    if not left:
        raise ValueError(
            "with these layers in floats nothing of the file would be in integers: export float32,"
            " or name fewer layers"
        )
    return kept


def in_floats(content: bytes) -> list[str]:
    """The kinds of the operators that an integer file computes in floats.

    What only moves values has the type of what it moves, and is named where nothing else is.
    """
    file = LayeredFile(content, alike("float32"))
    operators = [operator for operator, _ in file.computing()]
    kinds = {file.kind(op) for op in operators if file.precision(op) == "float32"}
    return sorted(kinds - _MOVING or kinds)


def with_stored_weights(content: bytes, layers: Layers) -> bytes:
    """A file whose float layers and int8 layers hold their weights in 16 and 4 bits as asked.

    Raises:
        ValueError: No kernel of LiteRT takes an operator's weights so.
    """
    if layers.precisions.isdisjoint(("float16", "int4")):
        return content
    file = LayeredFile(content, layers)
    half, four = [], []
    for operator, chains in file.computing():
        wanted = layers.precision(chains)
        if wanted == "float16":
            half.append(operator)
        elif wanted == "int4" and file.has_kernel(operator) and file.precision(operator) == "int8":
            if file.kind(operator) not in FOUR_BITS:
                name = layers.names[chains[0][-1]]
                raise ValueError(
                    f"layer '{name}': LiteRT has no {file.kind(operator)} of int4 weights"
                )
            four.append(operator)
    in_half_floats(file.model, file.graph, half)
    in_four_bits(file.model, file.graph, four)
    return packed(file.model, file.size)


def precisions_by_layer(content: bytes, layers: Layers, floats: bool = False) -> dict[str, str]:
    """The precision that each layer got which a rule matches, read off the file.

    Args:
        content: The file, its names still with marks.
        layers: What was asked for.
        floats: Whether layers may be in floats that were to be in integers.

    Returns:
        By the layer's name; see `Layers.by_name`.

    Raises:
        ValueError: An operator has another precision than its layer was to have, or a rule matches
            no operator.
    """
    file = LayeredFile(content, layers)
    got: dict[str, set[str]] = {name: set() for name in layers.asked}
    operators = list(file.computing())
    counting = {
        place
        for operator, chains in operators
        if file.kind(operator) not in _MOVING
        for chain in chains
        for place in chain
    }
    for operator, chains in operators:
        # What only moves values in a layer that computes, too, has the type of what it moves.
        if file.kind(operator) in _MOVING and counting & {chain[-1] for chain in chains}:
            continue
        found = file.precision(operator)
        inside = {layers.names[place] for chain in chains for place in chain} & got.keys()
        if not found or not inside:
            continue
        if not floats or found not in _FLOATS:
            _check(file, operator, chains, found)
        for name in inside:
            got[name].add(found)
    return layers.by_name(got)


def _check(
    file: LayeredFile, operator: schema.OperatorT, chains: Sequence[Chain], found: str
) -> None:
    asked = file.layers.precision(chains)
    without = {"int4": "int8", "float16": "float32"}.get(asked)
    if found != asked and (found != without or file.has_kernel(operator)):
        name = file.layers.names[chains[0][-1]]
        raise ValueError(
            f"layer '{name}': its {file.kind(operator)} would be {found}, not {asked} as asked:"
            " no quantiser makes it so; leave it out of the pattern"
        )


def without_marks(content: bytes) -> bytes:
    """A file whose tensors have their names without marks."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for graph in model.subgraphs:
        new: Mapping[str, str] = unmarked_names(t.name.decode() for t in graph.tensors)
        for tensor in graph.tensors:
            tensor.name = new[tensor.name.decode()].encode()
    return packed(model, len(content))


def finished(content: bytes, layers: Layers, floats: bool = False) -> tuple[bytes, dict[str, str]]:
    """A quantised file with its layers' weights as asked, and the precision that layers got.

    Args:
        content: The file, its names still with marks.
        layers: What is asked for.
        floats: Whether layers may be in floats that were to be in integers.

    Raises:
        ValueError: A layer can't have the precision that was asked for.
    """
    content = with_stored_weights(content, layers)
    precisions = precisions_by_layer(content, layers, floats)
    return without_marks(content), precisions
