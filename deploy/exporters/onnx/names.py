"""Names in ONNX files: Keras's for inputs and outputs, short, deterministic ones elsewhere."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgepress.deploy.exporters.onnx.node_order import bodies, sort_nodes

if TYPE_CHECKING:
    import onnx


def named(model: onnx.ModelProto, request: Mapping[str, Any]) -> onnx.ModelProto:
    """The model with Keras's names for inputs and outputs, and readable ones for free sizes."""
    graph = model.graph
    if len(graph.input) != len(request["inputs"]) or len(graph.output) != len(request["outputs"]):
        raise ValueError("the file has other inputs or outputs than the model")
    new = dict(
        [*zip((i.name for i in graph.input), request["inputs"], strict=True),
         *zip((o.name for o in graph.output), request["outputs"], strict=True)]
    )  # fmt: skip
    rename(graph, {old: name for old, name in new.items() if old != name})
    _name_sizes(graph, request.get("nchw") or ())
    model.producer_name = "edgepress"
    graph.doc_string = ""  # tf2onnx writes how many functions TensorFlow had seen before
    _settle(graph)
    return model


# Axes behind the batch, by how many there are, the channels last.
_AXES = {1: ("steps",), 2: ("steps",), 3: ("height", "width"), 4: ("depth", "height", "width")}


def _name_sizes(graph: onnx.GraphProto, channels_first: Collection[str]) -> None:
    """Call free sizes what they are: "batch", "height", "width", "steps".

    Those of an output, and of one of several inputs, begin with its name.
    """
    for value in (*graph.input, *graph.output):
        sizes = _sizes(value)
        alone = len(graph.input) == 1 and value.name == graph.input[0].name
        axes = _AXES.get(len(sizes) - 1, ())
        axes = ("channels", *axes) if value.name in channels_first else axes
        for place, size in enumerate(sizes):
            if size.dim_value:
                continue
            if place == 0:
                size.dim_param = "batch"
                continue
            axis = axes[place - 1] if place <= len(axes) else f"axis_{place}"
            size.dim_param = axis if alone else f"{value.name}_{axis}"


_COUNTED = re.compile(r"__\d+(?=:\d+$|$)")
_CALLS = re.compile(r"^(?:(?:Stateful)?PartitionedCall/)+(?=.)")
_WEIGHT = re.compile(r"ReadVariableOp")
# tf2onnx names what it makes of an Einsum after where that lies in memory.
_ADDRESS = re.compile(r"(?<=einsum)\d{6,}")


def _settle(graph: onnx.GraphProto) -> None:
    """Short names, numbered in the graph's order: the same model gives the same file.

    tf2onnx counts on from one conversion of a process to the next. Graphs with loops or branches
    keep their names: those inside would clash.
    """
    sort_nodes(graph)
    if any(True for node in graph.node for _ in bodies(node)):
        return
    fixed = {value.name for value in (*graph.input, *graph.output)}
    rename(graph, _shortened(_tensors(graph), fixed))
    _call_nodes(graph, _shortened((node.name for node in graph.node), set()))
    _renumber(graph, fixed)


def _tensors(graph: onnx.GraphProto) -> list[str]:
    """The names of a graph's tensors, each once, in the order in which nodes use them."""
    return list(dict.fromkeys(n for node in graph.node for n in (*node.input, *node.output)))


def _call_nodes(graph: onnx.GraphProto, new: Mapping[str, str]) -> None:
    for node in graph.node:
        node.name = new.get(node.name, node.name)


def _shortened(names: Iterable[str], fixed: Collection[str]) -> dict[str, str]:
    """New names without the calls that tracing leaves around a model, and without addresses."""
    places: dict[str, str] = {}
    known = dict.fromkeys(name for name in names if name and name not in fixed)
    new = {
        name: _ADDRESS.sub(
            lambda found: places.setdefault(found[0], str(len(places))), _CALLS.sub("", name)
        )
        for name in known
    }
    taken = Counter(new.values())
    taken.update(fixed)
    return {old: name for old, name in new.items() if old != name and taken[name] == 1}


def _renumber(graph: onnx.GraphProto, fixed: Collection[str]) -> None:
    """Number tensors and nodes in the graph's order."""
    names = [name for name in _tensors(graph) if name not in fixed and _COUNTED.search(name)]
    rename(graph, _counted(names, fixed))
    _call_nodes(graph, _counted([n.name for n in graph.node if _COUNTED.search(n.name)], set()))
    readings = [name for node in graph.node for name in node.input]
    place = {name: i for i, name in reversed(list(enumerate(readings)))}
    ordered = sorted(graph.initializer, key=lambda t: place.get(t.name, -1))
    del graph.initializer[:]
    graph.initializer.extend(ordered)
    # Of equal constants tf2onnx keeps any one; a weight keeps the name of its layer.
    count = Counter(readings)
    merged = [
        tensor.name
        for tensor in ordered
        if not _WEIGHT.search(tensor.name) and (count[tensor.name] > 1 or "/" not in tensor.name)
    ]
    free = (name for name in map("constant__{}".format, itertools.count(1)) if name not in fixed)
    rename(graph, dict(zip(merged, free, strict=False)))


def _counted(names: Iterable[str], taken: Collection[str]) -> dict[str, str]:
    """New names that end in the place of the old ones, but are none of the taken."""
    new: dict[str, str] = {}
    number = 0
    for name in names:
        number += 1
        while _COUNTED.sub(f"__{number}", name) in taken:
            number += 1
        new[name] = _COUNTED.sub(f"__{number}", name)
    return new


def rename(graph: onnx.GraphProto, new: Mapping[str, str]) -> None:
    """Rename tensors everywhere in a graph, in the bodies of loops and branches too."""
    if not new:
        return
    # A name that the graph already uses for something else makes way first.
    taken = {n for node in graph.node for n in node.output} | {t.name for t in graph.initializer}
    clash = {n: f"{n}__inner" for n in set(new.values()) & taken if n not in new}
    mapping = {**clash, **new}
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = mapping.get(value.name, value.name)
    _rename_nodes(graph, mapping)


def _rename_nodes(graph: onnx.GraphProto, mapping: Mapping[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [mapping.get(n, n) for n in node.input]
        node.output[:] = [mapping.get(n, n) for n in node.output]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename_nodes(inner, mapping)


_OF_WEIGHTS = re.compile(r"(?P<of>.+?)(?:_weight|_bias)?_quantized$")


def settle_scales(graph: onnx.GraphProto) -> None:
    """Store equal scales and zero points once, and call what a quantiser added by short names.

    ONNX Runtime's quantiser names a pair of operators and their four tensors after the tensor that
    they round, which was a fifth of the file of a small network. Graphs with loops or branches keep
    their names.
    """
    if any(True for node in graph.node for _ in bodies(node)):
        return
    rounding = [n for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    _store_once(graph, list(dict.fromkeys(name for node in rounding for name in node.input[1:])))
    stored = {tensor.name: tensor for tensor in graph.initializer}
    fixed = {value.name for value in (*graph.input, *graph.output)}
    taken = fixed | set(_tensors(graph))
    new: dict[str, str] = {}

    def call(name: str, short: str) -> None:
        if name not in fixed and short not in taken:
            new.setdefault(name, short)
            taken.add(short)

    for node in rounding:
        node.name = ""
        read, made, whole = node.input[0], node.output[0], node.op_type == "QuantizeLinear"
        if read in stored:
            found = _OF_WEIGHTS.fullmatch(read)
            call(read, f"{found['of'] if found else read}_q")
        if made.endswith("_Output"):
            call(made, f"{made.rpartition('_')[0].rpartition('_')[0]}_{'q' if whole else 'dq'}")
        for kind, name in zip(("scale", "zero"), node.input[1:], strict=False):
            if name in stored and name not in new:
                call(name, f"{kind}_{sum(v.startswith(f'{kind}_') for v in new.values()) + 1}")
    rename(graph, new)


def _store_once(graph: onnx.GraphProto, names: Sequence[str]) -> None:
    """Of equal constants among these keep the first."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    first: dict[bytes, str] = {}
    same: dict[str, str] = {}
    for name in names:
        if name in stored:
            tensor = type(stored[name]).FromString(stored[name].SerializeToString())
            tensor.name = ""
            kept = first.setdefault(tensor.SerializeToString(), name)
            same |= {name: kept} if kept != name else {}
    for node in graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
    kept_tensors = [tensor for tensor in graph.initializer if tensor.name not in same]
    del graph.initializer[:]
    graph.initializer.extend(kept_tensors)


def settle_shapes(graph: onnx.GraphProto) -> None:
    """Keep the shapes of the tensors that there are, in the graph's order, free sizes numbered.

    tf2onnx keeps those of tensors that its optimizer dropped, and onnxslim counts free sizes in an
    order that changes from process to process.
    """
    known = {value.name: value for value in graph.value_info}
    kept = [known[name] for name in _tensors(graph) if name in known]
    given = {d.dim_param for v in (*graph.input, *graph.output) for d in _sizes(v) if d.dim_param}
    names: dict[str, str] = {}
    for value in kept:
        for size in _sizes(value):
            if size.dim_param and size.dim_param not in given:
                size.dim_param = names.setdefault(size.dim_param, f"size_{len(names) + 1}")
    copies = [type(value).FromString(value.SerializeToString()) for value in kept]
    del graph.value_info[:]
    graph.value_info.extend(copies)


def _sizes(value: Any) -> Any:
    return value.type.tensor_type.shape.dim
