"""Reading Keras models out of SavedModel folders, as data: no traced function is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.errors import InputError
from edgepress.compress.models.file_kinds import folder_kind
from edgepress.compress.models.legacy.formats.optimizer_slots import checkpoint_slots
from edgepress.compress.models.legacy.formats.saved_model import LayerWeights, Saved, Weight, plain
from edgepress.compress.models.legacy.formats.traced_functions import Capture, Traced
from edgepress.compress.models.other_kinds import SAVED_MODEL, NotKeras

if TYPE_CHECKING:
    from tensorflow.core.framework.function_pb2 import FunctionDef
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
    from tensorflow.core.protobuf.saved_object_graph_pb2 import SavedObjectGraph


def read_saved_model(path: Path) -> Saved:
    """Read the Keras model of a SavedModel folder.

    The configuration comes from the folder's Keras metadata, the weights from its checkpoint. Both
    are data; TensorFlow's loader, which would trace and run the stored graph, isn't used.

    Args:
        path: The folder.

    Returns:
        The configuration and the weights.

    Raises:
        NotKeras: It holds no Keras model.
        InputError: It is no SavedModel, or is damaged.
    """
    if not (path / "saved_model.pb").is_file():
        what, hint = folder_kind(path)
        raise InputError(f"'{path}' {what}", hint)
    meta = _meta_graph(path)
    graph = meta.object_graph_def
    version = meta.meta_info_def.tensorflow_version
    metadata = _metadata(path, graph)
    root = metadata.get(0)
    model = None if root is None else _model(root)
    if model is None:
        raise NotKeras(path, SAVED_MODEL)
    reader = _Reader(path, meta, metadata)
    library = {f.signature.name: f for f in meta.graph_def.library.function}
    return Saved(
        model=model,
        weights=reader.network(0).children,
        keras="2.",
        backend="tensorflow",
        what=f"a SavedModel of TensorFlow {version}",
        training=(root or {}).get("training_config"),
        optimizer=checkpoint_slots(reader.checkpoint, reader.reader.get_tensor),
        traced=lambda name: reader.traced(name, library),
    )


def _meta_graph(path: Path) -> MetaGraphDef:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    message = SavedModel()
    try:
        message.ParseFromString((path / "saved_model.pb").read_bytes())
        return message.meta_graphs[0]
    except (DecodeError, IndexError):
        raise InputError(
            f"'{path / 'saved_model.pb'}' is damaged", "copy or download the folder again"
        ) from None


def _metadata(path: Path, graph: SavedObjectGraph) -> dict[int, dict[str, Any]]:
    """Keras metadata by node: in a file of its own since TensorFlow 2.5, in the graph before."""
    texts: dict[int, str] = {}
    for place, node in enumerate(graph.nodes):
        if node.WhichOneof("kind") == "user_object":
            user = node.user_object
            if user.identifier.startswith("_tf_keras") and user.metadata:
                texts[place] = user.metadata
    file = path / "keras_metadata.pb"
    if file.is_file():
        texts |= _metadata_file(file)
    return {place: plain(json.loads(text)) for place, text in texts.items()}


def _metadata_file(file: Path) -> dict[int, str]:
    from google.protobuf.message import DecodeError

    message = _metadata_message()
    try:
        message.ParseFromString(file.read_bytes())
    except DecodeError:
        raise InputError(f"'{file}' is damaged", "copy or download the folder again") from None
    return {node.node_id: node.metadata for node in message.nodes if node.metadata}


def _metadata_message() -> Any:
    """The message of `keras_metadata.pb`, declared here so that tf_keras need not be imported.

    Source: the field numbers of Keras's saved_metadata.proto.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    name = "edgepress/keras_metadata.proto"
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name=name, package="edgepress", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    node = file.message_type.add(name="SavedObject")
    node.field.add(name="node_id", number=2, type=kinds.TYPE_INT32, label=kinds.LABEL_OPTIONAL)
    node.field.add(name="metadata", number=5, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    root = file.message_type.add(name="SavedMetadata")
    root.field.add(
        name="nodes",
        number=1,
        type=kinds.TYPE_MESSAGE,
        label=kinds.LABEL_REPEATED,
        type_name=".edgepress.SavedObject",
    )
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("edgepress.SavedMetadata"))()


def _model(root: Mapping[str, Any]) -> dict[str, Any] | None:
    """`{class_name, config}` of the root, None where it has no layers in its configuration."""
    saved = root.get("model_config") or root
    config = saved.get("config")
    if isinstance(config, list) or (isinstance(config, dict) and "layers" in config):
        name = saved.get("class_name", "Functional")
        if isinstance(config, dict) and root.get("build_input_shape") is not None:
            config.setdefault("build_input_shape", root["build_input_shape"])
        return {"class_name": name, "config": config}
    return None


class _Reader:
    """Finds variables in the object graph and their values in the checkpoint."""

    def __init__(
        self, path: Path, meta: MetaGraphDef, metadata: Mapping[int, Mapping[str, Any]]
    ) -> None:
        from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph
        from tensorflow.python.training import py_checkpoint_reader

        self.graph = meta.object_graph_def
        self.nodes = self.graph.nodes
        self.outer = meta.graph_def.node
        self.metadata = metadata
        prefix = path / "variables" / "variables"
        try:
            self.reader = py_checkpoint_reader.NewCheckpointReader(str(prefix))
            stored = self.reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
        except Exception as error:
            raise InputError(
                f"'{path}' has no readable weights: {error}", "copy the whole folder again"
            ) from None
        self.checkpoint = TrackableObjectGraph()
        self.checkpoint.ParseFromString(stored)
        self.keys = self._keys()

    def _keys(self) -> dict[int, str]:
        """Checkpoint key of each variable node: both graphs have the same children names."""
        keys: dict[int, str] = {}
        seen = {(0, 0)}
        waiting = [(0, 0)]
        while waiting:
            here, there = waiting.pop()
            for attribute in self.checkpoint.nodes[there].attributes:
                keys.setdefault(here, attribute.checkpoint_key)
            known = {c.local_name: c.node_id for c in self.checkpoint.nodes[there].children}
            for child in self.nodes[here].children:
                pair = (child.node_id, known.get(child.local_name, -1))
                if pair[1] >= 0 and pair not in seen:
                    seen.add(pair)
                    waiting.append(pair)
        return keys

    def child(self, node: int, name: str) -> int | None:
        """A child by its local name."""
        return next((c.node_id for c in self.nodes[node].children if c.local_name == name), None)

    def network(self, node: int) -> LayerWeights:
        """A model's layers, each under its name."""
        found: dict[str, LayerWeights] = {}
        place = 0
        while (layer := self.child(node, f"layer-{place}")) is not None:
            name = str(self.metadata.get(layer, {}).get("name", place))
            nested = self.child(layer, "layer-0") is not None
            found[name] = self.network(layer) if nested else self.layer(layer)
            place += 1
        return LayerWeights(children=found)

    def layer(self, node: int) -> LayerWeights:
        """A layer's variables in the order of its `variables` list, else of its attributes."""
        listed = self.child(node, "variables")
        found = self.nodes[node].children
        if listed is not None:
            found = [c for c in self.nodes[listed].children if c.local_name.isdigit()]
            found.sort(key=lambda c: int(c.local_name))
        kept = [c.node_id for c in found if self.nodes[c.node_id].WhichOneof("kind") == "variable"]
        return LayerWeights(flat=tuple(self.variable(place) for place in kept))

    def variable(self, node: int) -> Weight:
        """One variable's name and value."""
        name = self.nodes[node].variable.name
        key = self.keys.get(node)
        if key is None:
            raise InputError(f"the checkpoint holds no value of '{name}'", "save the model again")
        return Weight(str(name), np.asarray(self.reader.get_tensor(key)))

    def traced(self, name: str, library: Mapping[str, FunctionDef]) -> Traced | None:
        """The traced call of the layer of a name, for inference."""
        layer = next((n for n, saved in self.metadata.items() if saved.get("name") == name), None)
        place = None if layer is None else self.child(layer, "__call__")
        if place is None:
            return None
        for concrete in self._concrete(place):
            function = library.get(concrete)
            if function is not None:
                bound = self.graph.concrete_functions[concrete].bound_inputs
                return Traced(name, function, library, [self._capture(node) for node in bound])
        return None

    def _concrete(self, node: int) -> list[str]:
        """Names of a function's traces: those that weren't traced for training come first."""
        names = list(self.nodes[node].function.concrete_functions)

        def trains(name: str) -> bool:
            found = self.graph.concrete_functions[name].canonicalized_input_signature
            return "bool_value: true" in str(found)

        return sorted(names, key=trains)

    def _capture(self, node: int) -> Capture:
        """A variable or a constant that a traced function holds."""
        saved = self.nodes[node]
        kind = saved.WhichOneof("kind")
        if kind == "variable":
            weight = self.variable(node)
            return Capture(weight.name, weight.value, bool(saved.variable.trainable))
        if kind == "constant":
            value = self.constants.get(saved.constant.operation)
            if value is not None:
                return Capture(saved.constant.operation, value, trainable=False)
        raise InputError(
            f"a layer's traced function holds a {kind}, which can't be converted",
            "pass a file that defines the layer's class with --custom-objects file.py",
        )

    @cached_property
    def constants(self) -> dict[str, Any]:
        """The constants of the outer graph that functions capture, by node name."""
        from tensorflow import make_ndarray

        return {
            node.name: np.asarray(make_ndarray(node.attr["value"].tensor))
            for node in self.outer
            if node.op == "Const"
        }
