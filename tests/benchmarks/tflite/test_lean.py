"""A lean file computes bit for bit what the full one computes, in fewer bytes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from real_files import also_real

from edgepress.benchmarks.tflite.graph import graph_of, packed
from edgepress.benchmarks.tflite.lean import lean

NETWORKS = [
    "resnet8_float", "resnet8_int8", "ds_cnn_int8", "mobilenet_int8", "autoencoder_int8",
    "lstm_float", "lstm_int8", "streaming_float", "branches_float",
    *also_real("mlperf_tiny/ic/resnet8_int8", "mlperf_tiny/kws/kws_int8",
               "mlperf_tiny/vww/vww_96_int8", "mlperf_tiny/ad/ad01_int8"),
]  # fmt: skip


def outputs(content: bytes) -> list[bytes]:
    """The bytes of all outputs for three drawn samples."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    rng, found = np.random.default_rng(0), []
    for _ in range(3):
        for detail in interpreter.get_input_details():
            drawn = rng.normal(size=detail["shape"]) * (50 if detail["dtype"] == np.int8 else 1)
            interpreter.set_tensor(detail["index"], drawn.astype(detail["dtype"]))
        interpreter.invoke()
        found += [interpreter.get_tensor(d["index"]).tobytes()
                  for d in interpreter.get_output_details()]  # fmt: skip
    return found


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_stay_bit_for_bit_and_nothing_else_stays(
    edge_file: Callable[[str], Path], name: str, fixed: bool
) -> None:
    content = edge_file(name).read_bytes()
    smaller = lean(content, fixed)
    assert len(smaller) < len(content)
    assert outputs(smaller) == outputs(content)
    assert lean(smaller, fixed) == smaller
    model = schema.Model.GetRootAs(smaller, 0)
    assert not model.SignatureDefsLength()
    assert not model.MetadataLength()
    graph = graph_of(model)
    assert {t.index for t in graph.tensors if t.name} <= {*graph.inputs, *graph.outputs}


def repacked(content: bytes) -> bytes:
    """The same file, rewritten."""
    return packed(schema.ModelT.InitFromPackedBuf(content, 0))


def places_of(content: bytes) -> list[int]:
    """Where each constant begins, in the order that operators read them."""
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    read = [i for k in range(graph.OperatorsLength()) for i in graph.Operators(k).InputsAsNumpy()]
    numbers = dict.fromkeys(graph.Tensors(int(i)).Buffer() for i in read if i >= 0)
    places = []
    for number in numbers:
        buffer = model.Buffers(number)
        if buffer.DataLength():
            places.append(buffer._tab.Vector(buffer._tab.Offset(4)))
    return places


@pytest.mark.parametrize("write", [lean, repacked])
def test_constants_lie_at_multiples_of_16(
    resnet_int8: Path, write: Callable[[bytes], bytes]
) -> None:
    places = places_of(write(resnet_int8.read_bytes()))
    assert len(places) > 10
    assert all(place % 16 == 0 for place in places)


def test_constants_lie_in_the_order_that_operators_read_them(resnet_int8: Path) -> None:
    places = places_of(lean(resnet_int8.read_bytes()))
    assert places == sorted(places)


def test_a_memory_plan_stays_with_the_tensors_that_it_counts(resnet_int8: Path) -> None:
    model = schema.ModelT.InitFromPackedBuf(resnet_int8.read_bytes(), 0)
    plan, buffer = schema.MetadataT(), schema.BufferT()
    plan.name, plan.buffer = "OfflineMemoryAllocation", len(model.buffers)
    buffer.data = np.arange(4 * (3 + len(model.subgraphs[0].tensors)), dtype=np.uint8)
    model.metadata, model.buffers = [*(model.metadata or ()), plan], [*model.buffers, buffer]
    content = packed(model)
    kept = schema.ModelT.InitFromPackedBuf(lean(content), 0)
    assert [m.name for m in kept.metadata] == [b"OfflineMemoryAllocation"]
    assert bytes(kept.buffers[kept.metadata[0].buffer].data) == bytes(buffer.data)
    assert len(kept.subgraphs[0].tensors) == len(model.subgraphs[0].tensors)


def test_equal_constants_and_unused_parts_are_stored_once_or_not_at_all(resnet_int8: Path) -> None:
    model = schema.ModelT.InitFromPackedBuf(resnet_int8.read_bytes(), 0)
    graph = model.subgraphs[0]
    for tensor in graph.tensors:
        model.buffers.append(copy.copy(model.buffers[tensor.buffer]))
        tensor.buffer = len(model.buffers) - 1
    graph.tensors.append(copy.copy(graph.tensors[0]))
    model.operatorCodes.append(copy.copy(model.operatorCodes[0]))
    larger = packed(model)
    assert len(larger) > 1.1 * len(resnet_int8.read_bytes())
    assert lean(larger) == lean(resnet_int8.read_bytes())
