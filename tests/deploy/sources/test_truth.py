"""What a file really is, and which operators a runtime lacks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import keras
import pytest

from edgepress import deploy
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.artifact import Artifact
from edgepress.deploy.doctor import doctor
from edgepress.deploy.exporting.result import ExportResult, Failed, Skipped
from edgepress.deploy.exporting.size_notes import larger_files
from edgepress.deploy.process.worker import Worker
from edgepress.deploy.sources.contents.arithmetic import arithmetic, truths
from edgepress.deploy.sources.contents.lacking_operators import RUNTIMES, lacking
from edgepress.deploy.sources.contents.operation import Constant, Operation

FORMATS = ("tflite", "onnx")


@pytest.mark.parametrize("name", FORMATS)
def test_an_integer_file_says_how_many_operators_are_left_in_floats(name: str, kinds: Any) -> None:
    found = deploy.inspect(kinds.files[f"{name} int8"])
    whole = deploy.inspect(kinds.files[name])
    assert sum(found.in_floats.values()) < found.operators
    assert sum(whole.in_floats.values()) == whole.operators > 0
    left = sum(found.in_floats.values())
    said = f"{left} of {found.operators} operators compute in floats"
    every = f"all {found.operators} operators compute in integers"
    assert any(note.startswith(said if left else every) for note in found.notes)


def _operation(kind: str, weights: str = "", in_floats: bool = True) -> Operation:
    stored = (Constant("1", 8, 8, weights, 0, True),) if weights else ()
    return Operation("", kind, 0, (), "float32", 0, stored, in_floats)


def test_what_is_called_int8_and_is_dynamic_says_so() -> None:
    found = arithmetic([_operation("FULLY_CONNECTED", "int8"), _operation("SOFTMAX")])
    notes = list(truths(Path("net_int8.tflite"), "dynamic", found, (), ()))
    assert "its name says integers" in notes[0]
    assert "1 of 2 operators" in notes[1]
    for name in ("net_dynamic.tflite", "net_int8-weights.tflite"):
        honest = list(truths(Path(name), "dynamic", found, (), ()))
        assert not any("its name" in note for note in honest)


def test_weights_that_stay_floats_in_a_dynamic_file_are_counted() -> None:
    inside = Constant("2", 336, 1344, "float32", 0, True)
    loop = Operation("", "Loop", None, (), "int32", 0, (inside,), True)
    found = arithmetic([loop, _operation("MatMulInteger", "int8", False)])
    note = next(truths(Path("net_dynamic.onnx"), "dynamic", found, (), ()))
    assert "8 of 344 of them: 1 of 2 operators read them" in note


def test_parts_in_floats_are_named_and_conversions_are_not_counted() -> None:
    operations = [_operation("CONV_2D", "int8", False)] * 3
    operations += [_operation("DEQUANTIZE"), _operation("CONCATENATION")]
    found = arithmetic(operations)
    assert (found.operators, dict(found.in_floats)) == (4, {"CONCATENATION": 1})
    notes = list(truths(Path("a.tflite"), "int8", found, (), ()))
    assert notes[0] == "1 of 4 operators compute in floats: CONCATENATION"


@pytest.mark.parametrize("others", [0, 1])
def test_integers_of_onnx_are_not_promised(others: int) -> None:
    """Where a graph has scales on both sides, the runtime may compute in floats all the same."""
    operations = [_operation("Conv", "int8", False)] * 3 + [_operation("Softmax")] * others
    notes = list(truths(Path("a.onnx"), "int8", arithmetic(operations), (), ()))
    said = "the other 3" if others else "all 3"
    assert any(n.startswith(f"{said} operators compute in integers as far as") for n in notes)
    assert sum("compute in floats" in note for note in notes) == others


@pytest.mark.parametrize("name", FORMATS)
def test_types_and_batch_are_told(name: str, kinds: Any) -> None:
    found = deploy.inspect(kinds.files[name])
    assert any(note.startswith("takes float32; gives float32") for note in found.notes)
    assert found.batch == found.inputs[0].shape[0]
    expected = "its batch is free" if found.batch is None else "its batch is fixed"
    assert any(note.startswith(expected) for note in found.notes)


def test_a_runtime_lacks_what_it_has_no_kernel_for() -> None:
    path = Path("a.tflite")
    assert lacking(path, ["CONV_2D", "RFFT2D"], "tflm") == ("RFFT2D",)
    assert lacking(path, ["CONV_2D", "FlexErf"], "litert") == ("FlexErf",)
    assert lacking(Path("a.onnx"), ["Conv", "own::Fancy"], "onnxruntime") == ("own::Fancy",)


def test_micro_lacks_products_of_floats_by_integers(small_dynamic: Path) -> None:
    found = deploy.inspect(small_dynamic, runtime="tflm")
    assert found.lacking == ("FULLY_CONNECTED (floats by integer weights)",)
    assert deploy.inspect(small_dynamic, runtime="litert").lacking == ()
    findings = doctor(small_dynamic, runtime="tflm").findings
    assert any(f.severity == "problem" and "floats by integer" in f.message for f in findings)


@pytest.fixture
def small_dynamic(tmp_path: Path, worker: Worker) -> Path:
    stack = [keras.Input((40,)), keras.layers.Dense(40, "relu"), keras.layers.Dense(3)]
    out = tmp_path / "out"
    deploy.export(keras.Sequential(stack), out, ["tflite"], ["dynamic"], worker=worker)
    return out / "model_dynamic.tflite"


def test_a_runtime_is_told_of_by_inspect_and_doctor(kinds: Any) -> None:
    path = kinds.files["tflite"]
    found = deploy.inspect(path, runtime="tflm")
    assert any(note.startswith("tflm has ") for note in found.notes)
    findings = doctor(path, runtime="litert").findings
    assert any(f.message.startswith("litert has kernels for all") for f in findings)


@pytest.mark.parametrize("runtime", ["onnxruntime", "nothing"])
def test_a_runtime_that_does_not_fit_is_refused(runtime: str, kinds: Any) -> None:
    with pytest.raises(InputError, match="no runtime" if runtime == "nothing" else "runs .onnx"):
        deploy.inspect(kinds.files["tflite"], runtime=runtime)
    assert runtime in RUNTIMES or runtime == "nothing"


def _artifact(path: Path, quantize: str, size: int) -> Artifact:
    return Artifact(
        path=path, format=path.suffix[1:], quantize=quantize, bytes=size, gzip_bytes=1, sha256="",
        inputs=(), outputs=(), source="", versions={}, verified=None, zstd_bytes=1,
    )  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_is_larger_than_the_float_one_says_why(
    name: str, kinds: Any, tmp_path: Path
) -> None:
    files = {
        kind: Path(shutil.copy(kinds.files[key], tmp_path / f"{kind}.{name}"))
        for kind, key in (("float32", name), ("int8", f"{name} int8"))
    }
    whole = _artifact(files["float32"], "float32", 1000)
    larger = _artifact(files["int8"], "int8", 1500)
    (note,) = larger_files([whole, larger])
    assert note.startswith(f"int8.{name}: 1,500 bytes, larger than float32's 1,000: ")
    assert "float32 is the smallest here" in note
    assert list(larger_files([whole, _artifact(files["int8"], "int8", 900)])) == []


def test_every_refused_file_has_a_reason_and_a_next_thing_to_try() -> None:
    refused = ExportResult(
        (),
        (Skipped("onnx", "int16x8", "ONNX has no such type"),),
        tuple(
            Failed(f, q, "departs", None)
            for f in ("tflite", "onnx", "c")
            for q in ("float32", "float16", "dynamic", "int8", "int16x8")
        ),
    )
    document = refused.to_json()
    assert all(entry["next_step"] for entry in (*document["failed"], *document["skipped"]))
    assert "--qat-epochs" not in next(
        f["next_step"]
        for f in document["failed"]
        if (f["format"], f["quantize"]) == ("onnx", "int8")
    )
    assert not Skipped("tflite", "int8", "int8 needs --data").next_step
