"""Model files that lead to other files, or declare more than they hold, are refused by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_models import dense_onnx

from edgepress.benchmarks.tflite.graph import packed
from edgepress.benchmarks.tflite.tiny_model import write_tiny_model
from edgepress.compress.errors import InputError
from edgepress.deploy.cli import main
from edgepress.deploy.sources.model_files import check_whole, open_file

HUGE = 2**40


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder `model` beside a file of the test's own, which no model may read."""
    (tmp_path / "model").mkdir()
    (tmp_path / "marker.bin").write_bytes(bytes(range(256)))
    return tmp_path / "model"


def _outside(place: Path, location: str, **where: str) -> Path:
    """A network whose first weights lie in another file."""
    path = dense_onnx(place / "m.onnx")
    model = onnx.load(path)
    _lead_out(model.graph.initializer[0], location, **where)
    path.write_bytes(model.SerializeToString())
    return path


def _lead_out(tensor: Any, location: str, **where: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "length": "48", **where}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


LOCATIONS = (
    "../marker.bin",
    "{}/marker.bin",
    "a/../../marker.bin",
    "..\\marker.bin",
    "link/marker.bin",
)


@pytest.mark.parametrize("location", LOCATIONS)
def test_weights_stay_in_the_models_folder(location: str, place: Path) -> None:
    (place / "link").symlink_to(place.parent)
    path = _outside(place, location.format(place.parent))
    with pytest.raises(InputError, match=r"keeps the numbers of 'w' in .*leads out of its folder"):
        open_file(path)
    with pytest.raises(InputError, match="leads out of its folder"):
        check_whole(path)


def _in_branch(tensor: Any) -> Any:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["b"])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
        [tensor],
    )
    return helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)


def _in_constant(tensor: Any) -> Any:
    return helper.make_node("Constant", [], ["y"], value=tensor)


@pytest.mark.parametrize("node", [_in_branch, _in_constant])
def test_tensors_inside_of_nodes_stay_there_too(node: Callable[[Any], Any], place: Path) -> None:
    tensor = numpy_helper.from_array(np.ones((3, 4), np.float32), "w")
    _lead_out(tensor, "../marker.bin")
    graph = helper.make_graph(
        [node(tensor)],
        "g",
        [helper.make_tensor_value_info("c", TensorProto.BOOL, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 4])],
    )
    path = place / "m.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(InputError, match="leads out of its folder"):
        open_file(path)


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ({"offset": "x"}, "isn't told in whole numbers"),
        ({"offset": "-8"}, "isn't told in whole numbers"),
        ({"length": "8"}, "declares 48 bytes and holds 8 in 'w.bin'"),
        ({"offset": "4000"}, "is truncated"),
        ({"length": "4000"}, "is truncated"),
    ],
)
def test_where_weights_lie_is_held_against_the_file(
    where: dict[str, str], says: str, place: Path
) -> None:
    (place / "w.bin").write_bytes(bytes(100))
    with pytest.raises(InputError, match=says):
        open_file(_outside(place, "w.bin", **where))


def test_weights_beside_the_model_are_read(place: Path) -> None:
    (place / "w.bin").write_bytes(bytes(100))
    assert open_file(_outside(place, "w.bin", offset="48")).precision == "float32"


@pytest.mark.parametrize("command", ["inspect", "verify", "benchmark", "export", "doctor"])
def test_every_command_refuses_weights_from_outside(
    command: str, place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = str(_outside(place, "../marker.bin"))
    more = {
        "verify": [path],
        "export": ["-o", str(tmp_path / "out"), "--format", "onnx"],
    }
    with pytest.raises(SystemExit) as end:
        main([command, path, *more.get(command, [])])
    out, err = capfd.readouterr()
    assert (end.value.code, out, err.count("edgepress: error: ")) == (2, "", 1), err
    assert "leads out of its folder" in err


def _declare(tensor: Any) -> None:
    tensor.dims[0] = HUGE


def _negative(tensor: Any) -> None:
    tensor.dims[0] = -3


def _unknown(tensor: Any) -> None:
    tensor.data_type = 99


def _short_list(tensor: Any) -> None:
    tensor.ClearField("raw_data")
    tensor.float_data.extend([1.0, 2.0])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_declare, "tensor 'w' declares 17,592,186,044,416 bytes and holds 48"),
        (_negative, r"declares the shape \[-3, 4\]"),
        (_unknown, "unknown type 99"),
        (_short_list, "declares 48 bytes and holds 8"),
    ],
)
def test_stored_onnx_tensors_hold_what_they_declare(
    change: Callable[[Any], None], says: str, place: Path
) -> None:
    path = dense_onnx(place / "m.onnx")
    model = onnx.load(path)
    change(model.graph.initializer[0])
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=says):
        check_whole(path)


@pytest.mark.parametrize("side", ["input", "output"])
def test_a_sample_of_an_onnx_file_fits_in_memory(side: str, place: Path) -> None:
    path = dense_onnx(place / "m.onnx")
    model = onnx.load(path)
    sizes = getattr(model.graph, side)[0].type.tensor_type.shape.dim
    sizes[1].dim_value = HUGE
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"declares contents of 4,398.0 GB, above the limit"):
        check_whole(path)


def _changed_tflite(place: Path, change: Callable[[Any], None]) -> Path:
    from ai_edge_litert import schema_py_generated as schema

    path = write_tiny_model(place / "m.tflite")
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    change(model)
    path.write_bytes(packed(model))
    return path


def _other_files(model: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    group = schema.ExternalBufferGroupT()
    group.name = b"../marker.bin"
    model.externalBufferGroups = [group]


def _stored(model: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    buffer = schema.BufferT()
    buffer.data = list(bytes(16))
    model.buffers.append(buffer)
    tensor = model.subgraphs[0].tensors[0]
    tensor.buffer, tensor.shape = 1, [2**28, 4]


def _moving(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.tensors[int(graph.outputs[0])].shape = [1, 2**30]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_other_files, r"keeps numbers in another file, '\.\./marker.bin'"),
        (_stored, "tensor 'x' declares 4,294,967,296 bytes and holds 16"),
        (_moving, r"declares contents of [\d,.]+ GB, above the limit"),
    ],
)
def test_tflite_tensors_hold_what_they_declare(
    change: Callable[[Any], None], says: str, place: Path
) -> None:
    with pytest.raises(InputError, match=says):
        check_whole(_changed_tflite(place, change))
    with pytest.raises(InputError, match=says):
        open_file(place / "m.tflite")


@pytest.mark.parametrize("name", ["m.onnx", "m.tflite", "m.keras", "m.h5"])
@pytest.mark.parametrize("command", ["inspect", "benchmark", "doctor"])
def test_a_pipe_is_no_model(
    name: str, command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(SystemExit) as end:
        main([command, str(tmp_path / name)])
    assert end.value.code == 2
    assert "is a pipe, not a file" in capfd.readouterr().err
