"""What `inspect` and `doctor` say of files that hold no Keras model."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_files import also_real

from edgepress import compress, deploy
from edgepress.compress.counting.einsum import einsum_macs
from edgepress.compress.errors import InputError
from edgepress.deploy.cli import main
from edgepress.deploy.doctor import doctor

ALL = ("tflite", "tflite int8", "onnx", "onnx int8", "savedmodel")
FLOATS = ("tflite", "onnx", "savedmodel")


@pytest.mark.parametrize("kind", ALL)
def test_macs_are_those_of_the_keras_model(kind: str, kinds: Any, inspected: Any) -> None:
    assert inspected(kind).macs == compress.inspect(kinds.model).macs


@pytest.mark.parametrize("kind", FLOATS)
def test_parameters_and_zeros_are_those_of_the_keras_model(
    kind: str, kinds: Any, inspected: Any
) -> None:
    found, keras = inspected(kind), compress.inspect(kinds.model)
    assert found.params == keras.params
    assert found.sparsity == pytest.approx(keras.sparsity)
    assert found.types == {"float32": keras.params}


@pytest.mark.parametrize("kind", ALL)
def test_the_document_has_the_fields_of_a_keras_model(
    kind: str, kinds: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["inspect", str(kinds.files[kind]), "--json"])
    assert end.value.code == 0
    found = json.loads(capfd.readouterr().out)
    keras = compress.inspect(kinds.model).to_json()
    assert keras.keys() - found.keys() == {"entropy_bytes"}
    assert keras["layers"][0].keys() - found["layers"][0].keys() == {"entropy_bytes"}
    assert found["groups"] == []
    assert "Keras" in found["groups_reason"]
    assert found["quantize"] == ("int8" if "int8" in kind else "float32")
    assert sum(layer["macs"] for layer in found["layers"]) == found["macs"]
    assert found["inputs"][0]["shape"][1:] == [8, 8, 2]
    assert found["outputs"][0]["shape"][1:] == [3]


def test_integers_are_seen_with_their_scales(inspected: Any) -> None:
    found = inspected("tflite int8")
    assert set(found.types) == {"int8", "int32"}
    kernels = [layer for layer in found.layers if layer.weights == "int8"]
    assert len(kernels) == 4
    assert kernels[0].sparsity >= 0.5


def test_the_library_keeps_refusing_what_it_can_not_train(kinds: Any) -> None:
    for kind in FLOATS:
        with pytest.raises(InputError, match="holds no Keras model"):
            compress.load(kinds.files[kind])


@pytest.mark.parametrize("kind", ["tflite int8", "onnx", "savedmodel"])
def test_doctor_tells_what_it_can(kind: str, kinds: Any) -> None:
    found = doctor(kinds.files[kind], str(kinds.data)).findings
    lines = [f.line() for f in found]
    assert any("can't be fine-tuned or pruned" in line for line in lines)
    (score,) = [line for line in lines if "with the data as given" in line]
    assert float(score.split()[1]) > 0.9
    assert not [f for f in found if f.severity == "problem" and f.topic != "environment"]


def test_doctor_sees_inputs_that_are_clipped(kinds: Any, tmp_path: Path) -> None:
    with np.load(kinds.data) as file:
        arrays = dict(file)
    wide = {k: 40 * v if k.startswith("x") else v for k, v in arrays.items()}
    np.savez(tmp_path / "wide.npz", **wide)
    found = doctor(kinds.files["tflite int8"], str(tmp_path / "wide.npz")).findings
    assert any("are clipped" in f.message for f in found)


@given(draw=st.data())
@settings(max_examples=30, deadline=None)
def test_a_damaged_file_is_read_or_refused(draw: Any, kinds: Any, tmp_path_factory: Any) -> None:
    whole = bytearray(kinds.files["tflite"].read_bytes())
    for _ in range(draw.draw(st.integers(0, 8))):
        whole[draw.draw(st.integers(8, len(whole) - 1))] = draw.draw(st.integers(0, 255))
    end = draw.draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))
    path = tmp_path_factory.mktemp("cut") / "cut.tflite"
    path.write_bytes(bytes(whole[:end]))
    with suppress(InputError):
        deploy.inspect(path)


@given(
    st.lists(st.integers(1, 4), min_size=4, max_size=4),
    st.sampled_from(["ab,bc->ac", "abc,cd->abd", "abc,adc->abd", "a...d,db->a...b", "ab,ab->a"]),
)
def test_an_einstein_sum_makes_one_product_for_each_index(sizes: list[int], equation: str) -> None:
    named = dict(zip("abcd", sizes, strict=True)) | {".": 3}
    terms = [t.replace("...", ".") for t in equation.split("->")[0].split(",")]
    shapes = [tuple(named[letter] for letter in term) for term in terms]
    every = {letter for term in terms for letter in term}
    want = int(np.prod([named[letter] for letter in every]))
    assert einsum_macs(equation, shapes) == want


@pytest.mark.parametrize(
    ("want", "names"),
    [
        (12_501_632, ("resnet8_float", *also_real("mlperf_tiny/ic/resnet8_float"))),
        (2_656_768, ("ds_cnn_int8", *also_real("mlperf_tiny/kws/kws_int8"))),
        (7_489_664, ("mobilenet_int8", *also_real("mlperf_tiny/vww/vww_96_int8"))),
    ],
)
def test_files_cost_what_is_published(
    edge_file: Callable[[str], Path], want: int, names: tuple[str, ...]
) -> None:
    assert {name: deploy.inspect(edge_file(name)).macs for name in names} == dict.fromkeys(
        names, want
    )


def test_two_real_files_of_one_network_cost_the_same(shared_data: Path) -> None:
    pitch = shared_data / "models"
    one = deploy.inspect(pitch / "tflite/basic_pitch_nmp.tflite")
    other = deploy.inspect(pitch / "savedmodel/basic_pitch_nmp.onnx")
    assert one.macs == other.macs
