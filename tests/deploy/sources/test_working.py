"""What works with files that hold no Keras model: exporting, comparing, measuring."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from edge_networks import images
from real_files import also_real, cifar_images
from variants import mostly_slow

from edgepress import deploy
from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.deploy.cli import main

DATA_NEEDED = ["float32", "float16", "dynamic", "int8"]


@pytest.mark.parametrize(
    ("source", "artifact"),
    mostly_slow(
        [*itertools.permutations(["tflite", "onnx", "savedmodel"], 2), ("onnx", "tflite int8"),
         ("tflite int8", "savedmodel"), ("tflite int8", "onnx int8")],
        ("tflite", "onnx"), ("savedmodel", "tflite"), ("tflite int8", "onnx int8"),
    ),
)  # fmt: skip
def test_every_kind_is_compared_with_every_other(source: str, artifact: str, kinds: Any) -> None:
    found = deploy.verify(kinds.files[source], kinds.files[artifact], str(kinds.data))
    assert found.passed, found.reason
    assert found.metric == "accuracy"
    assert found.samples == 80
    assert found.value is not None
    assert found.value >= 0.9
    if "int8" not in source + artifact:
        assert (found.value, found.source_value, found.tolerance) == (1.0, 1.0, 1e-4)


def test_channels_first_is_the_same_image(kinds: Any, worker: Any, tmp_path: Path) -> None:
    (first,) = deploy.export(kinds.model, tmp_path / "out", ["onnx"], nchw=True, worker=worker)
    assert first.inputs[0].shape[1:] == (2, 8, 8)
    assert deploy.verify(first.path, kinds.files["tflite"]).passed
    assert deploy.verify(kinds.files["tflite"], first.path).passed


def test_without_data_random_inputs_are_compared(kinds: Any) -> None:
    found = deploy.verify(kinds.files["savedmodel"], kinds.files["tflite"])
    assert (found.passed, found.samples, found.metric) == (True, 64, None)


def test_another_model_is_told_apart(kinds: Any, worker: Any, tmp_path: Path, capfd: Any) -> None:
    other = keras.models.clone_model(kinds.model)
    (wrong,) = deploy.export(other, tmp_path / "out", ["tflite"], worker=worker)
    with pytest.raises(SystemExit) as end:
        main(["verify", str(kinds.files["onnx"]), str(wrong.path)])
    assert end.value.code == 1
    assert "differs from its source" in capfd.readouterr().err


def _exported(words: list[str], capfd: Any) -> dict[str, Any]:
    with pytest.raises(SystemExit) as end:
        main(["export", *words, "--json"])
    out, err = capfd.readouterr()
    assert end.value.code == 0, err
    document: dict[str, Any] = json.loads(out)
    assert document["failed"] == []
    assert all(a["verified"]["passed"] for a in document["artifacts"])
    return document


def _written(document: dict[str, Any]) -> set[str]:
    return {f"{a['format']} {a['quantize']}" for a in document["artifacts"]}


def _reasons(document: dict[str, Any]) -> dict[str, str]:
    return {f"{s['format']} {s['quantize']}": s["reason"] for s in document["skipped"]}


def test_a_saved_model_becomes_every_file(kinds: Any, tmp_path: Path, capfd: Any) -> None:
    words = [str(kinds.files["savedmodel"]), "-o", str(tmp_path / "out"), "--data", str(kinds.data)]
    words += ["--format", "tflite,onnx,c", "--quantize", ",".join(DATA_NEEDED)]
    document = _exported(words, capfd)
    both = {f"{f} {q}" for f in ("tflite", "onnx") for q in DATA_NEEDED}
    assert _written(document) == both | {"c float32", "c int8"}
    assert all(a["verified"]["source_value"] == 1.0 for a in document["artifacts"])
    assert (tmp_path / "out" / "model_int8_main.cc").is_file()
    # What is measured against the SavedModel holds against the Keras model it was made from.
    for artifact in document["artifacts"]:
        if artifact["format"] != "c" and artifact["quantize"] == "float32":
            assert deploy.verify(kinds.model, artifact["path"]).passed


def test_a_tflite_file_is_stored_in_fewer_bits(kinds: Any, tmp_path: Path, capfd: Any) -> None:
    pytest.importorskip("ai_edge_quantizer")
    words = [str(kinds.files["tflite"]), "-o", str(tmp_path / "out"), "--data", str(kinds.data)]
    words += [
        "--format",
        "tflite,c,onnx",
        "--quantize",
        "float32,float16,int8-weights,dynamic,int8",
    ]
    document = _exported(words, capfd)
    tflite = {f"tflite {q}" for q in ("float32", "int8-weights", "dynamic", "int8")}
    assert _written(document) == tflite | {"c float32", "c int8"}
    reasons = _reasons(document)
    assert "16-bit floats" in reasons["tflite float16"]
    assert "can't convert TFLite to onnx" in reasons["onnx float32"]
    files = {a["quantize"]: a for a in document["artifacts"] if a["format"] == "tflite"}
    assert Path(files["float32"]["path"]).read_bytes() == kinds.files["tflite"].read_bytes()
    assert files["int8-weights"]["bytes"] < files["float32"]["bytes"]


def test_an_integer_file_stays_what_it_is(kinds: Any, tmp_path: Path, capfd: Any) -> None:
    """It needs no data either: a copy has no ranges to find."""
    words = [str(kinds.files["tflite int8"]), "-o", str(tmp_path / "out")]
    words += ["--format", "c", "--quantize", "int8,float32"]
    document = _exported(words, capfd)
    assert _written(document) == {"c int8"}
    assert document["artifacts"][0]["verified"]["max_abs_error"] == 0
    assert "int8 already" in _reasons(document)["c float32"]


def test_an_onnx_file_is_quantised(kinds: Any, tmp_path: Path, capfd: Any) -> None:
    words = [str(kinds.files["onnx"]), "-o", str(tmp_path / "out"), "--data", str(kinds.data)]
    words += ["--format", "onnx,tflite", "--quantize", ",".join(DATA_NEEDED)]
    document = _exported(words, capfd)
    assert _written(document) == {f"onnx {q}" for q in DATA_NEEDED}, document["skipped"]
    assert "can't convert ONNX to tflite" in _reasons(document)["tflite int8"]


def test_scattered_weights_and_a_fixed_batch(kinds: Any, worker: Any, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(kinds.files["onnx"])
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2
    del model.graph.value_info[:]  # they tell of a free batch
    path = tmp_path / "scattered.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=100)
    assert deploy.verify(path, kinds.files["onnx"]).passed
    made = deploy.export(
        path, tmp_path / "out", ["onnx"], ["float32", "int8"], data=str(kinds.data), worker=worker
    )
    assert [a.quantize for a in made] == ["float32", "int8"]
    assert deploy.inspect(made[0].path).params == kinds.model.count_params()


@pytest.mark.slow
def test_a_saved_model_is_measured_as_its_tflite_file(kinds: Any, capfd: Any) -> None:
    folder = kinds.files["savedmodel"]
    with pytest.raises(SystemExit) as end:
        main(["benchmark", str(folder), str(kinds.files["onnx"]), "--runs", "5", "--data",
              str(kinds.data), "--json"])  # fmt: skip
    out, err = capfd.readouterr()
    assert end.value.code == 0, err
    rows = json.loads(out)["rows"]
    assert [row["artifact"] for row in rows] == [str(folder), str(kinds.files["onnx"])]
    assert rows[0]["label"] == f"{folder.name}.tflite"
    assert [row["value"] for row in rows] == [1.0, 1.0]
    assert "measured as its float32 TFLite file" in err


@pytest.mark.parametrize("name", ["resnet8", *also_real("mlperf_tiny/ic/resnet8")])
def test_an_integer_file_decides_like_its_float_file(
    edge_file: Callable[[str], Path], name: str
) -> None:
    floats, integers = (edge_file(f"{name}_{kind}") for kind in ("float", "int8"))
    if "/" in name:
        x, y = cifar_images(200)
    else:
        drawn = images(400, (32, 32, 3), seed=6)
        with Runtime(floats) as runtime:
            (scores,) = runtime.predict({"x": drawn}).values()
        first, second = np.sort(scores)[:, :-3:-1].T
        surest = np.argsort(first - second)[200:]  # like a trained network's decisions
        x, y = drawn[surest], scores[surest].argmax(1)
    both = deploy.verify(floats, integers, {"test": (x.astype(np.float32), y)})
    assert both.passed, both.reason
    assert both.source_value is not None
    assert both.source_value > 0.8


def test_real_files_of_other_people(shared_data: Path) -> None:
    pitch = shared_data / "models"
    found = deploy.verify(
        pitch / "savedmodel/basic_pitch_nmp.onnx",
        pitch / "tflite/basic_pitch_nmp.tflite",
        samples=2,
    )
    assert found.passed, found.reason
