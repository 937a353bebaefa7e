"""Look-ups that are plain tables, as an ONNX file of their own: ONNX has an operator for them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.errors import DeviceError
from edgepress.deploy.sources.fronts.tokens import TokenFront

if TYPE_CHECKING:
    import keras
    import onnx

    from edgepress.deploy.process.worker import Worker

_FILE = "tables.onnx"
_MODES = ("int", "one_hot", "multi_hot", "count")
# Values of each input on which the file is compared with Keras's look-up.
_MOST_PROBED = 20_000
_OPEN_SIZE = 3
_ML_OPSET = 3


def write_tables(front: TokenFront, beside: Path, worker: Worker) -> tuple[list[Path], list[str]]:
    """Write the tables as an ONNX file that gives the same numbers, and say so.

    Args:
        front: What stands before the files.
        beside: An ONNX file that takes the numbers; both can be merged.
        worker: Where ONNX Runtime runs.

    Returns:
        The file, and a remark; neither where a look-up is no table (it hashes, or cuts texts into
        words), or where ONNX Runtime gives other numbers than Keras, which is said.
    """
    tables = [_table(t, name) for t, name in zip(front.front.outputs, front.numbers, strict=True)]
    if None in tables:
        return [], []
    path = beside.with_name(_FILE)
    request = {"out": str(path), "beside": str(beside), "tables": tables, **_probe(front)}
    try:
        worker.ask("onnx-tables", request)
    except DeviceError as error:
        return [], [f"{_FILE} isn't written: {error.message}"]
    return [path], [
        f"{_FILE} holds the tables for ONNX Runtime: it takes {', '.join(front.inputs)} and gives"
        f" {', '.join(front.numbers)}; put it before an ONNX file with onnx.compose.merge_models"
    ]


def _table(tensor: keras.KerasTensor, name: str) -> dict[str, Any] | None:
    """What a look-up does to an input, JSON-able; None where it is no plain table."""
    layer, node, _ = tensor._keras_history
    given = layer._inbound_nodes[node].input_tensors
    if type(layer).__name__ not in ("StringLookup", "IntegerLookup") or len(given) != 1:
        return None
    config = layer.get_config()
    mode, unknown = config["output_mode"], int(config["num_oov_indices"])
    if (
        mode not in _MODES
        or unknown > 1
        or given[0]._keras_history.operation._inbound_nodes[0].input_tensors
    ):
        return None
    words = [w if isinstance(w, str) else int(w) for w in layer.get_vocabulary()]
    mask, depth = config["mask_token"], int(tensor.shape[-1] or 0)
    numbers = list(range(len(words)))
    if mode != "int" and mask is not None:  # such places count as nothing
        words, numbers = [*words, mask], [*numbers, depth]
    first = int(mode == "int" and mask is not None)
    return {
        "input": given[0].name,
        "output": name,
        "of_text": type(layer).__name__ == "StringLookup",
        "shape": list(given[0].shape[1:]),
        "gives": list(tensor.shape[1:]),
        "dtype": "float32" if mode != "int" else "int32",
        "words": words,
        "numbers": numbers,
        "unknown": first if unknown else (depth if mode != "int" else -1),
        "mode": mode,
        "depth": depth,
    }


def _probe(front: TokenFront) -> dict[str, Any]:
    """Values of each input, known and unknown, and the numbers that Keras gives for them."""
    import keras

    known: dict[str, list[Any]] = {}
    for tensor in front.front.outputs:
        layer, node, _ = tensor._keras_history
        name = layer._inbound_nodes[node].input_tensors[0].name
        vocabulary = layer.get_vocabulary(include_special_tokens=False)
        found = [word if isinstance(word, str) else int(word) for word in vocabulary]
        if layer.get_config()["num_oov_indices"]:
            found += ["no such word", ""] if found and isinstance(found[0], str) else [-17, 10**6]
        known.setdefault(name, found[:_MOST_PROBED])
    sizes = {t.name: math.prod(n or _OPEN_SIZE for n in t.shape[1:]) for t in front.front.inputs}
    count = max(-(-len(values) // sizes[name]) for name, values in known.items())
    given = {
        t.name: np.resize(
            np.array(known[t.name], object), (count, *(n or _OPEN_SIZE for n in t.shape[1:]))
        )
        for t in front.front.inputs
    }
    tensors = [
        keras.ops.convert_to_tensor(given[t.name].astype(str if t.dtype == "string" else t.dtype))
        for t in front.front.inputs
    ]
    expected = keras.tree.flatten(front.front(tensors))
    return {
        "probe": {name: values.tolist() for name, values in given.items()},
        "expected": [np.asarray(value).tolist() for value in expected],
    }


def write(request: Mapping[str, Any]) -> dict[str, Any]:
    """Write the file; the child's part.

    Args:
        request: `out` (file), `beside` (an ONNX file), `tables` (as `_table` gives them), `probe`
            (values by input) and `expected` (what each table gives for them).

    Raises:
        ValueError: ONNX Runtime gives something else.
    """
    import onnx

    from edgepress.deploy.exporters.onnx.session import quiet_session

    model = _model(request["tables"], onnx.load(request["beside"], load_external_data=False))
    onnx.checker.check_model(model)
    texts = {table["input"]: table["of_text"] for table in request["tables"]}
    feed = {
        name: np.array(values, object if texts[name] else np.int64)
        for name, values in request["probe"].items()
    }
    found = quiet_session(model).run(None, feed)
    for table, have, want in zip(request["tables"], found, request["expected"], strict=True):
        if not np.array_equal(have, np.array(want)):
            raise ValueError(f"ONNX Runtime looks up other numbers for '{table['input']}'")
    onnx.save(model, request["out"])
    return {}


def _model(tables: Sequence[Mapping[str, Any]], beside: onnx.ModelProto) -> onnx.ModelProto:
    """The tables as a model of the same versions as another, without which none can be merged."""
    from onnx import TensorProto, helper

    nodes: list[Any] = []
    inputs: dict[str, Any] = {}
    outputs, constants = [], []
    for table in tables:
        kind = TensorProto.STRING if table["of_text"] else TensorProto.INT64
        inputs[table["input"]] = helper.make_tensor_value_info(
            table["input"], kind, ["samples", *table["shape"]]
        )
        made, held = _nodes(table)
        nodes += made
        constants += held
        gives = TensorProto.FLOAT if table["dtype"] == "float32" else TensorProto.INT32
        outputs.append(
            helper.make_tensor_value_info(_output(table), gives, ["samples", *table["gives"]])
        )
    graph = helper.make_graph(nodes, "tables", list(inputs.values()), outputs, constants)
    versions = {"ai.onnx.ml": _ML_OPSET} | {o.domain: o.version for o in beside.opset_import}
    opsets = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=beside.ir_version)


def _output(table: Mapping[str, Any]) -> str:
    """The name of a table's output, which can't be that of its input."""
    name = str(table["output"])
    return f"{name}_numbers" if name == table["input"] else name


def _nodes(table: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Nodes and constants of a table."""
    from onnx import TensorProto, helper

    name = table["output"]
    keys = "keys_strings" if table["of_text"] else "keys_int64s"
    place = {keys: table["words"], "values_int64s": table["numbers"]}
    nodes = [
        helper.make_node(
            "LabelEncoder", [table["input"]], [f"{name}/number"], domain="ai.onnx.ml",
            default_int64=table["unknown"], **place,
        )
    ]  # fmt: skip
    if table["mode"] == "int":
        cast = helper.make_node("Cast", [f"{name}/number"], [_output(table)], to=TensorProto.INT32)
        return [*nodes, cast], []
    constants = [
        helper.make_tensor(f"{name}/depth", TensorProto.INT64, [], [table["depth"]]),
        helper.make_tensor(f"{name}/off_on", TensorProto.FLOAT, [2], [0.0, 1.0]),
    ]
    summed = len(table["gives"]) == len(table["shape"]) > 0
    last = f"{name}/hot" if summed else _output(table)
    named = [f"{name}/number", f"{name}/depth", f"{name}/off_on"]
    nodes.append(helper.make_node("OneHot", named, [last]))
    if summed:
        constants.append(helper.make_tensor(f"{name}/axis", TensorProto.INT64, [1], [-2]))
        constants.append(helper.make_tensor(f"{name}/one", TensorProto.FLOAT, [], [1.0]))
        count = _output(table) if table["mode"] == "count" else f"{name}/count"
        nodes.append(helper.make_node("ReduceSum", [last, f"{name}/axis"], [count], keepdims=0))
        if table["mode"] != "count":
            nodes.append(helper.make_node("Min", [count, f"{name}/one"], [_output(table)]))
    return nodes, constants
