"""SavedModel folders, read as data: what they take and give, and what in them is not run.

A SavedModel is a program. TensorFlow runs it in a child process only, and not at all where its
graph calls Python, writes files, reads files of its own choice or opens connections.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.artifact import TensorSpec
from edgepress.deploy.sources.signature import ACTIVATIONS, TRANSPARENT, Signature

if TYPE_CHECKING:
    from tensorflow.core.framework.node_def_pb2 import NodeDef
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, TensorInfo

PROGRAM = "saved_model.pb"
_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
# Refused wherever they are in the graph. Source: TensorFlow's list of operations, and its
# SECURITY.md: "TensorFlow models are programs".
_REFUSED = frozenset({
    # Python of the process that loads the graph
    "PyFunc", "PyFuncStateless", "EagerPyFunc",
    # files
    "ReadFile", "WriteFile", "MatchingFiles", "WholeFileReader", "WholeFileReaderV2",
    "TextLineReader", "TextLineReaderV2", "FixedLengthRecordReader", "FixedLengthRecordReaderV2",
    "TFRecordReader", "TFRecordReaderV2", "LMDBReader", "TextLineDataset", "TFRecordDataset",
    "TFRecordDatasetV2", "FixedLengthRecordDataset", "FixedLengthRecordDatasetV2", "SqlDataset",
    "CSVDataset", "CSVDatasetV2", "LMDBDataset", "SaveDataset", "SaveDatasetV2", "LoadDataset",
    "SnapshotDataset", "SnapshotDatasetV2", "CacheDataset", "CacheDatasetV2",
    "CreateSummaryFileWriter", "CreateSummaryDbWriter", "DumpToFile", "LookupTableExportV2",
    # connections
    "RpcCall", "RpcClient", "RpcServer", "RpcServerStart", "TryRpc", "Rpc", "DataServiceDataset",
    "DataServiceDatasetV2", "DataServiceDatasetV3", "DataServiceDatasetV4",
    "RegisterDataset", "RegisterDatasetV2", "BigtableClient", "KafkaDataset",
})  # fmt: skip
# Every SavedModel saves and restores its weights; refused where an inference does.
_REFUSED_IN_INFERENCE = frozenset({
    "Save", "SaveV2", "SaveSlices", "Restore", "RestoreV2", "RestoreSlice",
    "MergeV2Checkpoints", "ShardedFilename",
})  # fmt: skip


class SavedModelReader:
    """A SavedModel folder, opened as data.

    Args:
        path: The folder.

    Raises:
        InputError: It is none, is damaged, has no signature, or its graph isn't run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.meta = _meta_graph(path)
        self._library = {f.signature.name: f for f in self.meta.graph_def.library.function}
        self.key, self._definition = self._signature()
        self._refuse()

    def _signature(self) -> tuple[str, Any]:
        found = {
            name: definition
            for name, definition in self.meta.signature_def.items()
            if definition.outputs and not name.startswith("__")
        }
        if not found:
            raise InputError(
                f"'{self.path}' is a SavedModel without signatures: it names no inputs or outputs",
                "save it with tf.saved_model.save(model, folder, signatures=…)",
            )
        key = "serving_default" if "serving_default" in found else next(iter(found))
        if len(found) > 1 and key != "serving_default":
            raise InputError(
                f"'{self.path}' has the signatures {', '.join(sorted(found))}, and none of them is"
                " serving_default",
                "save it with one signature of that name",
            )
        return key, found[key]

    def signature(self) -> Signature:
        """What the folder's signature takes and gives, by name."""
        inputs = sorted(self._definition.inputs)
        outputs = sorted(self._definition.outputs)
        return Signature(
            tuple(self._spec(name, self._definition.inputs[name]) for name in inputs),
            tuple(self._spec(name, self._definition.outputs[name]) for name in outputs),
            tuple(self._activation(self._definition.outputs[name].name) for name in outputs),
        )

    def _spec(self, name: str, info: TensorInfo) -> TensorSpec:
        import tensorflow as tf

        if info.tensor_shape.unknown_rank:
            raise InputError(f"'{name}' of '{self.path}' has no known number of axes")
        shape = tuple(None if d.size < 0 else int(d.size) for d in info.tensor_shape.dim)
        return TensorSpec(name, shape, str(tf.dtypes.as_dtype(info.dtype).name))

    def _activation(self, tensor: str) -> str:
        """The activation that an output has passed, through the functions that give it."""
        node_name, _, slot = tensor.removeprefix("^").partition(":")
        nodes = {node.name: node for node in self.meta.graph_def.node}
        node, place = nodes.get(node_name), int(slot or 0)
        for _ in range(32):
            if node is None:
                return "linear"
            if node.op in ACTIVATIONS:
                return ACTIVATIONS[node.op]
            if node.op in _CALLS:
                function = self._library.get(node.attr["f"].func.name)
                if function is None or place >= len(function.signature.output_arg):
                    return "linear"
                nodes = {inner.name: inner for inner in function.node_def}
                given = function.ret[function.signature.output_arg[place].name]
            elif node.op in TRANSPARENT:
                given = node.input[0]
            else:
                return "linear"
            # "node", "node:slot" or, inside functions, "node:output name:slot"
            name, *_, last = [*given.split(":"), "0"] if ":" not in given else given.split(":")
            node, place = nodes.get(name), int(last)
        return "linear"

    def _refuse(self) -> None:
        """Refuse what is not run, before TensorFlow loads it.

        Raises:
            InputError: Names the operation.
        """
        everywhere = [*self.meta.graph_def.node]
        everywhere += [n for f in self._library.values() for n in f.node_def]
        inference = list(self._inference())
        for nodes, refused in ((everywhere, _REFUSED), (inference, _REFUSED_IN_INFERENCE)):
            for node in nodes:
                prints = node.op == "PrintV2" and node.attr["output_stream"].s.startswith(b"file:")
                if node.op in refused or prints:
                    raise InputError(
                        f"'{self.path}' is not run: its graph holds the operation {node.op}"
                        f" ('{node.name}'), which accesses something outside the model",
                        "save the model again without it",
                    )

    def _inference(self) -> Iterator[Any]:
        """The nodes that the signature's outputs come from, those of inner functions too."""
        outer = {node.name: node for node in self.meta.graph_def.node}
        waiting = [(_node(info.name), outer) for info in self._definition.outputs.values()]
        seen: set[str] = set()
        functions: set[str] = set()
        while waiting:
            name, nodes = waiting.pop()
            node = nodes.get(name)
            if node is None or name in seen:
                continue
            seen.add(name)
            yield node
            waiting += [(_node(given), nodes) for given in node.input]
            for function in _named_functions(node):
                if function not in functions and function in self._library:
                    functions.add(function)
                    yield from self._body(function, functions)

    def _body(self, name: str, functions: set[str]) -> Iterator[Any]:
        for node in self._library[name].node_def:
            yield node
            for inner in _named_functions(node):
                if inner not in functions and inner in self._library:
                    functions.add(inner)
                    yield from self._body(inner, functions)


def _node(tensor: str) -> str:
    """The node of a tensor's name."""
    return tensor.removeprefix("^").partition(":")[0]


def _named_functions(node: NodeDef) -> Iterator[str]:
    for value in node.attr.values():
        for function in (value.func, *value.list.func):
            if function.name:
                yield function.name


def _meta_graph(path: Path) -> MetaGraphDef:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = path / PROGRAM
    if not file.is_file():
        raise InputError(f"'{path}' is a folder but not a SavedModel: it has no {PROGRAM}")
    message = SavedModel()
    try:
        message.ParseFromString(file.read_bytes())
        return message.meta_graphs[0]
    except (DecodeError, IndexError):
        raise InputError(f"'{file}' is damaged", "copy or download the folder again") from None
