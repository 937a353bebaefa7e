"""Labels and preparation inside TFLite files: read back, beside unchanged weights, and runnable."""

from __future__ import annotations

import zipfile

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.benchmarks.tflite.metadata_tables import Described, Description, pack, unpack
from edgepress.compress.data.preparation.inputs import Preparation
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec
from edgepress.deploy.exporters.tflite.metadata import describe, normalization, read_description
from edgepress.deploy.exporting.export import convert, export
from edgepress.deploy.sources.formats.tflite import TFLiteFile

CLASSES = ("bird", "dog", "grey cat")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(image))
    return keras.Model(image, layers.Dense(3, activation="softmax", name="class")(x))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of class folders of images."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (folder / name).mkdir()
        for i in range(20):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def weights(path):
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    graph = model.Subgraphs(0)
    tensors = [graph.Tensors(i) for i in range(graph.TensorsLength())]
    return {
        t.Name(): model.Buffers(t.Buffer()).DataAsNumpy().tobytes()
        for t in tensors
        if model.Buffers(t.Buffer()).DataLength()
    }


def test_labels_and_preparation_are_in_the_exported_file(model, photographs, tmp_path, worker):
    data = DataSpec(spec=str(photographs), scale=1 / 255, mean=(0.5,), std=(0.25,))
    result = export(model, tmp_path / "out", ("tflite", "c"), ("float32", "int8"), data,
                    worker=worker)  # fmt: skip
    assert result.passed
    for precision in ("float32", "int8"):
        path = tmp_path / "out" / f"model_{precision}.tflite"
        told = read_description(path)
        [image], [label] = told.inputs, told.outputs
        assert (image.name, label.name) == ("image", "class")
        np.testing.assert_allclose((*image.mean, *image.std), (127.5, 63.75), rtol=1e-5)
        assert label.labels == CLASSES
        with zipfile.ZipFile(path) as archive:  # as every reader of the format finds them
            assert archive.read("labels.txt").decode().splitlines() == list(CLASSES)
    # What goes into a microcontroller's flash leaves them out.
    size = (tmp_path / "out" / "model_int8.tflite").stat().st_size
    assert f"model_int8[{size}]" not in (tmp_path / "out" / "model_int8.h").read_text()


def test_weights_and_outputs_stay_as_they_are(model, worker, tmp_path):
    plain, told = tmp_path / "plain.tflite", tmp_path / "told.tflite"
    assert convert(model, plain, worker=worker) == ""
    told.write_bytes(plain.read_bytes())
    assert describe(told, "net", "made here", Preparation({}, scale=1 / 255), CLASSES)
    assert weights(told) == weights(plain)
    x = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype("float32")
    outputs = []
    for path in (plain, told):
        with Runtime(path) as runtime:
            inputs, _ = runtime.tensors()
            outputs.append(next(iter(runtime.predict({inputs[0].name: x}).values())))
    np.testing.assert_array_equal(*outputs)
    notes = " ".join(TFLiteFile(told).inspect().notes)
    assert "net: made here" in notes
    assert "input 'image' takes (x - 0) / 255" in notes
    assert "output 'class' is of bird, dog, grey cat" in notes
    before = told.read_bytes()
    assert not describe(told, "another", "", Preparation({}, scale=1.0), CLASSES)
    assert told.read_bytes() == before


def test_a_described_file_runs_on_microcontrollers(model, worker, tmp_path):
    runtime = pytest.importorskip("tflite_micro").runtime
    path = tmp_path / "told.tflite"
    assert convert(model, path, worker=worker) == ""
    assert describe(path, "net", "", None, CLASSES)
    interpreter = runtime.Interpreter.from_bytes(path.read_bytes(), arena_size=1_000_000)
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype("float32")
    interpreter.set_input(x, 0)
    interpreter.invoke()
    np.testing.assert_allclose(interpreter.get_output(0), model(x), atol=1e-5)


def test_files_without_anything_to_tell_stay_as_they_are(model, worker, tmp_path):
    path = tmp_path / "plain.tflite"
    assert convert(model, path, worker=worker) == ""
    before = path.read_bytes()
    assert not describe(path, "net", "", Preparation({}), ())
    assert not describe(path, "net", "", None, ("one", "two"))  # of three classes
    assert path.read_bytes() == before
    assert read_description(path) is None


def test_a_damaged_description_is_named(model, worker, tmp_path):
    path = tmp_path / "told.tflite"
    assert convert(model, path, worker=worker) == ""
    assert describe(path, "net", "", None, CLASSES)
    content = path.read_bytes()
    place = content.index(b"M001")
    path.write_bytes(content[: place - 4] + b"\xff" * 8 + content[place + 4 :])
    with pytest.raises(InputError, match="metadata"):
        read_description(path)


names = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\v\f\x1c\x1d\x1e\x85  "))
floats = st.lists(st.floats(-1e6, 1e6, width=32), max_size=4).map(tuple)


@given(name=names, about=names, mean=floats, labels=st.lists(names.filter(bool), max_size=5))
def test_what_is_packed_is_unpacked(name, about, mean, labels):
    given_inputs = (Described("a", mean, mean), Described(name))
    told = Description(name, about, given_inputs, (Described("y", labels=tuple(labels)),))
    files = {"labels.txt": "".join(f"{label}\n" for label in labels)}
    assert unpack(pack(told, [True, False]), files) == told


@given(
    scale=st.none() | st.floats(1e-3, 10),
    mean=st.none() | st.floats(-5, 5),
    std=st.none() | st.floats(0.1, 5),
)
def test_normalisation_is_the_preparation(scale, mean, std):
    pair = [None if v is None else (v,) for v in (mean, std)]
    means, stds = normalization(Preparation({"x": "float32"}, scale, *pair))
    want = Preparation({"x": "float32"}, scale, *pair)({"x": np.float32([1, 200])}, None)[0]["x"]
    got = np.float32([1, 200]) if not means else (np.float32([1, 200]) - means[0]) / stds[0]
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)
