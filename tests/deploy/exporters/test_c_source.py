"""C++ sources for microcontrollers hold the file byte for byte and compile."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import zlib

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given
from hypothesis import strategies as st
from keras import layers
from real_files import also_real
from variants import mostly_slow

from edgepress.benchmarks.runtimes.micro_runtime import micro_runtime
from edgepress.benchmarks.tflite.arena import plan_arena
from edgepress.benchmarks.tflite.lean import lean
from edgepress.benchmarks.tflite.tflm_memory import plan_micro
from edgepress.deploy.exporters.c.headers import array_source, c_name, c_number
from edgepress.deploy.exporting.export import export

# The part of TFLM's interface that the generated sources use, enough to compile against.
TFLM = {
    "tensorflow/lite/micro/micro_mutable_op_resolver.h": """#pragma once
enum TfLiteStatus { kTfLiteOk, kTfLiteError };
namespace tflite { template <unsigned N> struct MicroMutableOpResolver {
  %s }; }
""",
    "tensorflow/lite/schema/schema_generated.h": """#pragma once
namespace tflite { struct Model {}; inline const Model* GetModel(const void* p) {
  return static_cast<const Model*>(p); } }
""",
    "tensorflow/lite/micro/micro_interpreter.h": """#pragma once
struct TfLiteTensor { union { char* raw; } data; __SIZE_TYPE__ bytes; };
namespace tflite { struct Model; struct MicroInterpreter {
  template <class R> MicroInterpreter(const Model*, R&, unsigned char*, __SIZE_TYPE__) {}
  TfLiteStatus AllocateTensors() { return kTfLiteOk; }
  char values[12 * 12 * 3], found[4];
  TfLiteTensor given{{values}, sizeof values}, made{{found}, sizeof found};
  TfLiteStatus Invoke() {
    for (unsigned i = 0; i < sizeof values; ++i)
      if (values[i] != model_int8_sample_input_0[i]) return kTfLiteError;
    for (unsigned i = 0; i < sizeof found; ++i)
      found[i] = model_int8_sample_output_0[i] + APART;
    return kTfLiteOk; }
  TfLiteTensor* input(unsigned) { return &given; }
  TfLiteTensor* output(unsigned) { return &made; } }; }
""",
}


CLASSES = ("cat", "éléphant", 'say "no"', "d")


@pytest.fixture(scope="module")
def sources(tmp_path_factory, worker):
    keras.utils.set_random_seed(0)
    image = keras.Input((12, 12, 3), name="image")
    x = layers.ReLU()(layers.DepthwiseConv2D(3)(layers.Conv2D(8, 3)(image)))
    model = keras.Model(image, layers.Dense(4, activation="softmax")(layers.Flatten()(x)))
    x = np.random.default_rng(0).normal(size=(240, 12, 12, 3)).astype("float32")
    y = np.asarray(model(x)).argmax(-1)
    folder = tmp_path_factory.mktemp("c") / "out"
    data = {"x_train": x, "y_train": y, "x_val": x, "y_val": y, "class_names": np.array(CLASSES)}
    result = export(model, folder, ("c", "tflite"), ("int8",), data, "int8", worker=worker)
    assert result.passed
    return folder


def compile_with(compiler, folder, *flags):
    calls = re.findall(r"resolver\.(\w+)\(\)", (folder / "model_int8_tflm.h").read_text())
    stubs = " ".join(f"TfLiteStatus {call}() {{ return kTfLiteOk; }}" for call in calls)
    for name, text in TFLM.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("%s", stubs))
    command = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-I", str(folder), *flags]
    subprocess.run([*command], cwd=folder, check=True, capture_output=True, text=True)


def inside(folder):
    """The bytes that the array holds: the file, without what no interpreter reads."""
    return lean((folder / "model_int8.tflite").read_bytes(), fixed_shapes=True)


def test_the_array_is_the_file_and_the_example_runs(sources, tmp_path):
    if not shutil.which("g++"):
        pytest.skip("g++ is not installed")
    folder = shutil.copytree(sources, tmp_path / "c")
    (folder / "dump.cc").write_text(
        '#include <cstdio>\n#include "model_int8.h"\n'
        "int main() { std::fwrite(model_int8, 1, model_int8_len, stdout); }\n"
    )
    compile_with("g++", folder, "dump.cc", "model_int8.cc", "-o", "dump")
    got = subprocess.run([folder / "dump"], check=True, capture_output=True).stdout
    assert got == inside(folder)
    # An interpreter that gives what LiteRT gave, and one that is further off than rounding.
    for apart, code in (("0", 0), ("2", 0), ("-3", 5)):
        compile_with("g++", folder, f"-DAPART={apart}", "model_int8_main.cc", "model_int8.cc",
                     "-o", "example")  # fmt: skip
        assert subprocess.run([folder / "example"], check=False).returncode == code


def test_headers_say_what_goes_in_and_out_and_the_checksum(sources):
    text = (sources / "model_int8.h").read_text()
    told = dict(re.findall(r"#define MODEL_INT8_(\w+) (.+)", text))
    data = inside(sources)
    assert (told["BYTES"], told["CRC32"]) == (str(len(data)), f"0x{zlib.crc32(data):08x}u")
    interpreter = Interpreter(model_content=data)
    [given], [made] = interpreter.get_input_details(), interpreter.get_output_details()
    for side, detail in (("INPUT_0", given), ("OUTPUT_0", made)):
        scale, zero_point = detail["quantization"]
        assert np.float32(told[f"{side}_SCALE"].rstrip("f")) == np.float32(scale)
        assert told[f"{side}_ZERO_POINT"] == f"({zero_point})"
        assert told[f"{side}_SIZE"] == str(np.prod(detail["shape"]))
    assert told["LABELS"] == '{"cat", "\\u00e9l\\u00e9phant", "say \\"no\\"", "d"}'


def test_the_sample_is_what_the_file_gives(sources):
    arrays = {
        name: np.array([int(n) for n in values.replace("\n", "").rstrip(", ").split(",")], np.int8)
        for name, values in re.findall(
            r"model_int8_sample_(\w+)\[\d+\] = \{([^}]+)\}",
            (sources / "model_int8_sample.h").read_text(),
        )
    }
    interpreter = Interpreter(model_content=inside(sources))
    interpreter.allocate_tensors()
    [given], [made] = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(given["index"], arrays["input_0"].reshape(given["shape"]))
    interpreter.invoke()
    np.testing.assert_array_equal(interpreter.get_tensor(made["index"])[0], arrays["output_0"])


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_literal_is_the_same_float(value):
    text = c_number(value)
    assert re.fullmatch(r"-?\d+(\.\d+)?(e[+-]\d+)?f", text)
    assert np.float32(text[:-1]) == np.float32(value)


def test_the_sources_compile_for_a_microcontroller(sources, tmp_path):
    """Without a C library; the bytes in the object's read-only data are those of the file."""
    if not shutil.which("arm-none-eabi-g++"):
        pytest.skip("arm-none-eabi-g++ is not installed (Debian: gcc-arm-none-eabi)")
    folder = shutil.copytree(sources, tmp_path / "c")
    flags = ("-mcpu=cortex-m4", "-mthumb", "-ffreestanding", "-fdata-sections", "-DAPART=0", "-c")
    compile_with("arm-none-eabi-g++", folder, *flags, "model_int8.cc", "model_int8_main.cc")
    command = ["arm-none-eabi-objcopy", "-O", "binary", "-j", ".rodata.model_int8"]
    subprocess.run([*command, "model_int8.o", "array.bin"], cwd=folder, check=True)
    assert (folder / "array.bin").read_bytes() == inside(folder)
    assert (folder / "model_int8_main.o").stat().st_size > 0


def test_the_arena_holds_at_least_the_planned_activations(sources):
    text = (sources / "model_int8_tflm.h").read_text()
    arena = int(re.search(r"arena_bytes = (\d+)", text)[1])
    planned = plan_arena(sources / "model_int8.tflite").arena_bytes
    assert planned <= arena <= 20 * planned + 65536


@given(data=st.binary(min_size=1, max_size=100))
def test_every_byte_is_in_the_array(data):
    text = "".join(array_source("model", "model.h", data))
    body = text[text.index("{") : text.index("}")]
    assert bytes(int(b, 16) for b in re.findall(r"0x(\w\w)", body)) == data


@given(text=st.text(min_size=1))
def test_names_are_identifiers(text):
    assert re.fullmatch(r"[A-Za-z_]\w*", c_name(text), re.ASCII)


def _allocations(path):
    with micro_runtime(path) as runtime:
        return runtime.ask({"do": "allocations"})


@pytest.mark.parametrize(
    "name",
    ["resnet8", "ds_cnn", "mobilenet", "autoencoder",
     *also_real("mlperf_tiny/ic/resnet8", "mlperf_tiny/kws/kws", "mlperf_tiny/vww/vww_96",
                "mlperf_tiny/ad/ad01")],
)  # fmt: skip
def test_the_planned_arena_is_that_of_tflm(edge_file, name):
    """Within 5 % of what TFLM's own allocator gives to the four networks, part by part."""
    pytest.importorskip("tflite_micro")
    path = edge_file(f"{name}_int8")
    measured = _allocations(path)
    plan = plan_micro(path)
    assert plan.activations == measured["head"]
    assert plan.structures == pytest.approx(measured["tail"], rel=0.06)
    assert plan.total == pytest.approx(measured["total"], rel=0.05)
    assert plan.guessed == ()


def test_the_planned_arena_of_an_exported_file_is_that_of_tflm(sources):
    pytest.importorskip("tflite_micro")
    path = sources / "model_int8.tflite"
    assert plan_micro(path).total == pytest.approx(_allocations(path)["total"], rel=0.05)


@pytest.fixture(scope="module")
def gaps():
    """A network whose activations TFLM lays out with gaps, and data."""
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3), name="image")
    x = layers.Conv2D(8, 3, 2, padding="same", activation="relu")(image)
    for filters, strides in ((16, 1), (32, 2)):
        x = layers.DepthwiseConv2D(3, strides, padding="same", activation="relu")(x)
        x = layers.Conv2D(filters, 1, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(4)(x))
    x = np.random.default_rng(0).normal(size=(64, 32, 32, 3)).astype("float32")
    y = np.asarray(model(x))
    return model, {"x_train": x, "y_train": y, "x_val": x, "y_val": y}


def _file(path):
    """A TFLite file, out of its array where it is in C."""
    if path.suffix != ".cc":
        return path
    content = bytes(int(byte, 16) for byte in re.findall(r"0x(\w\w)\b", path.read_text()))
    path.with_suffix(".array").write_bytes(content)
    return path.with_suffix(".array")


@pytest.mark.parametrize(
    ("form", "planned", "plain"),
    mostly_slow([("c", None, False), ("tflite", True, None)], ("c", None, False)),
)
def test_a_memory_plan_is_in_c_files_and_in_others_when_asked_for(
    gaps, tmp_path, worker, form, planned, plain
):
    model, data = gaps
    said, arenas = {}, {}
    for plan in (planned, plain):
        asked = {"plan_memory": plan, "equalize": False, "bias_correction": False}
        result = export(
            model, tmp_path / str(plan), (form,), ("int8",), data, "int8", worker=worker, **asked
        )
        assert result.passed
        said[plan] = [note for note in result.notes if "memory plan in the file" in note]
        arenas[plan] = plan_arena(_file(result[0].path)).arena_bytes
    assert arenas[planned] < arenas[plain]
    assert said[plain] == []
    (line,) = said[planned]
    assert f"{arenas[planned]} bytes" in line
    assert line.endswith(str(arenas[plain]))


@pytest.mark.parametrize("precision", ["int8", "int16x8"])
def test_sums_and_tables_of_kernels_are_planned(tmp_path, worker, own_data, precision):
    pytest.importorskip("tflite_micro")
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu")(image)
    model = keras.Model(image, layers.Conv2D(4, 1, activation="softmax")(x))
    data = own_data(model)
    result = export(model, tmp_path / "out", ["tflite"], [precision], data, worker=worker)
    told = _allocations(result[0].path)
    plan = plan_micro(result[0].path)
    assert plan.activations == told["head"]
    assert plan.total == pytest.approx(told["total"], rel=0.05)


def _exported(model, tmp_path, worker, precisions, formats=("c",)):
    import numpy as np

    shape = (64, *model.inputs[0].shape[1:])
    samples = np.random.default_rng(0).normal(size=shape).astype("float32")
    data = (samples, model.predict(samples, verbose=0))
    return export(model, tmp_path / "out", formats, precisions, data, worker=worker)


@pytest.mark.parametrize(
    ("kind", "precision"),
    mostly_slow(
        itertools.product(["dilated", "GRU", "LSTM"], ["float32", "int8", "int16x8"]),
        ("dilated", "int8"),
        ("GRU", "float32"),
        ("LSTM", "int16x8"),
    ),
)
def test_what_tflm_would_compute_wrongly_is_said_otherwise(kind, precision, tmp_path, worker):
    """TFLM's SPACE_TO_BATCH_ND over steps gives wrong numbers, its WHILE zeros or no end."""
    pytest.importorskip("tflite_micro")
    keras.utils.set_random_seed(0)
    series = keras.Input((12, 5), name="series")
    if kind == "dilated":
        x = layers.Conv1D(6, 3, dilation_rate=2, padding="causal", activation="relu")(series)
        x = layers.GlobalAveragePooling1D()(layers.SeparableConv1D(6, 3, dilation_rate=3)(x))
    else:
        x = getattr(layers, kind)(6)(series)
    result = _exported(keras.Model(series, layers.Dense(3)(x)), tmp_path, worker, (precision,))
    assert result.passed, (result.skipped, result.failed)
    assert any("run in TFLM" in note for note in result.notes)


def test_what_tflm_has_no_kernel_for_is_refused_by_its_own_word(tmp_path, worker):
    """LiteRT has an EXP for 16 bits, TFLM for floats only: a file that LiteRT runs is no proof."""
    pytest.importorskip("tflite_micro")
    image = keras.Input((4, 4, 3), name="image")
    model = keras.Model(image, layers.ELU()(layers.Conv2D(3, 1)(image)))
    result = _exported(model, tmp_path, worker, ("int16x8",), ("c", "tflite"))
    assert [a.format for a in result] == ["tflite"]
    assert "TensorFlow Lite Micro can't run it" in result.skipped[0].reason
    assert "EXP: " in result.skipped[0].reason


def test_outputs_of_tflm_that_are_others_are_refused(tmp_path, worker, monkeypatch):
    """A dilated convolution as TensorFlow says it, which LiteRT alone computes rightly."""
    pytest.importorskip("tflite_micro")
    from edgepress.deploy.lowerings import operations

    monkeypatch.setattr(operations, "LOWERINGS", ())
    series = keras.Input((12, 5), name="series")
    model = keras.Model(series, layers.Conv1D(6, 3, dilation_rate=2, padding="same")(series))
    result = _exported(model, tmp_path, worker, ("float32",), ("c", "tflite"))
    assert [a.format for a in result] == ["tflite"]
    assert "gives other outputs than LiteRT" in result.skipped[0].reason
