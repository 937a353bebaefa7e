"""C99 without an interpreter gives what LiteRT's reference kernels give, bit for bit."""

from __future__ import annotations

import ctypes
import shutil
import subprocess

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from int8_graphs import BUILDERS, CURVES, drawn
from keras import layers
from real_files import FOLDER

from edgepress.deploy.exporters.c_standalone import library, program
from edgepress.deploy.exporters.c_standalone.operators import OPERATORS
from edgepress.deploy.exporters.c_standalone.source import sources_of
from edgepress.deploy.exporting.export import export

STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic")
pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")


def write(folder, files):
    """The sources of files by name; what describes each."""
    described = {}
    for name, content in files.items():
        (folder / f"{name}.tflite").write_bytes(content)
        source = sources_of(folder / f"{name}.tflite", name)
        (folder / f"{name}.c").write_text(source.code)
        (folder / f"{name}.h").write_text(source.header)
        described[name] = source
    return described


def compiled(folder, files):
    """Functions that run files, by name; all in one library."""
    described = write(folder, files)
    sources = [f"{name}.c" for name in files]
    command = ["cc", *STRICT, "-shared", "-fPIC", "-o", "all.so", *sources, "-lm"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    library = ctypes.CDLL(str(folder / "all.so"))

    def runner(name):
        function = getattr(library, f"{name}_invoke")
        specs = described[name].described["outputs"]

        def run(inputs):
            made = [np.full(spec["shape"], 77, spec["dtype"]) for spec in specs]
            pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*inputs, *made)]
            assert function(*pointers) == 0
            return made

        return run

    return {name: runner(name) for name in files}


class Reference:
    """A file in LiteRT's reference kernels."""

    def __init__(self, content):
        self._interpreter = Interpreter(
            model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
        )
        self._interpreter.allocate_tensors()
        self.inputs = self._interpreter.get_input_details()

    def __call__(self, inputs):
        for detail, array in zip(self.inputs, inputs, strict=True):
            self._interpreter.set_tensor(detail["index"], array)
        self._interpreter.invoke()
        details = self._interpreter.get_output_details()
        return [self._interpreter.get_tensor(detail["index"]) for detail in details]


def samples(details, count, seed=0):
    """Inputs: the ends of the range first, then drawn ones of wide and of narrow spread."""
    random = np.random.default_rng(seed)
    for number in range(count):
        made = []
        for detail in details:
            shape = detail["shape"]
            if detail["dtype"] == np.float32:
                made.append(random.normal(0, 4, shape).astype(np.float32))
            elif number < 3:
                made.append(np.full(shape, (-128, 127, 0)[number], np.int8))
            else:
                low, high = ((-128, 128), (-20, 20))[number % 2]
                made.append(random.integers(low, high, shape).astype(np.int8))
        yield made


def assert_equal(run, content, count):
    reference = Reference(content)
    for inputs in samples(reference.inputs, count):
        for got, want in zip(run(inputs), reference(inputs), strict=True):
            np.testing.assert_array_equal(got, want)


def differing(tmp_path, kinds, seeds, count):
    files = {f"{kind.lower()}_{seed}": drawn(kind, seed) for kind in kinds for seed in seeds}
    found = []
    for name, run in compiled(tmp_path, files).items():
        try:
            assert_equal(run, files[name], count)
        except AssertionError as error:
            found.append((name, str(error)[:300]))
    return found


def test_operators_equal_the_reference_kernels(tmp_path):
    kinds = set(BUILDERS) - set(CURVES)
    assert not differing(tmp_path, sorted(kinds), range(1), 20)


def test_functions_of_single_numbers_equal_the_reference_kernels(tmp_path):
    assert not differing(tmp_path, ["curves"], range(1), 8)


def test_every_operator_is_tried():
    tried = set(BUILDERS) | {"EXPAND_DIMS", "SQUEEZE"}
    assert tried == set(OPERATORS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", BUILDERS)
def test_a_thousand_inputs_of_an_operator(tmp_path, kind):
    assert not differing(tmp_path, [kind], range(10, 18), 125)


def outputs_of_program(folder, described, flags, count):
    """What a program gives that runs each network on `count` samples of the file NAME.in."""
    bodies, declared = "", ""
    for name, source in described.items():
        sides = source.described["inputs"], source.described["outputs"]
        counts = zip("io", map(len, sides), strict=True)
        made = [[f"{side}_{i}" for i in range(count)] for side, count in counts]
        buffers = "".join(
            f"static {'float' if spec['dtype'] == 'float32' else 'signed char'}"
            f" {buffer}[{int(np.prod(spec['shape']))}];"
            for specs, names in zip(sides, made, strict=True)
            for spec, buffer in zip(specs, names, strict=True)
        )
        read = "".join(f"if (!fread({b}, sizeof {b}, 1, in)) return 2;" for b in made[0])
        written = "".join(f"fwrite({b}, sizeof {b}, 1, out);" for b in made[1])
        declared += f'#include "{name}.h"\n'
        bodies += f"""  {{ {buffers}
    FILE *in = fopen("{name}.in", "rb"), *out = fopen("{name}.out", "wb");
    for (int n = 0; n < {count}; ++n) {{
      {read} if ({name}_invoke({", ".join((*made[0], *made[1]))})) return 3; {written} }}
    fclose(in); fclose(out); }}\n"""
    (folder / "main.c").write_text(
        f"#include <stdio.h>\n{declared}int main(void) {{\n{bodies}  return 0;\n}}\n"
    )
    sources = ["main.c", *(f"{name}.c" for name in described)]
    # Several statements stand in a line of main.
    quiet = "-Wno-misleading-indentation"
    command = ["cc", *STRICT, quiet, *flags, "-o", "program", *sources]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:2000]
    ran = subprocess.run(["./program"], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[:2000]
    assert not ran.stderr
    return {name: (folder / f"{name}.out").read_bytes() for name in described}


@pytest.mark.slow
def test_no_undefined_behaviour(tmp_path):
    kinds = [*(k for k in BUILDERS if k not in CURVES), "curves"]
    files = {f"{kind.lower()}_{seed}": drawn(kind, seed) for kind in kinds for seed in range(3)}
    described, wanted = write(tmp_path, files), {}
    for name, content in files.items():
        reference = Reference(content)
        given = list(samples(reference.inputs, 20))
        (tmp_path / f"{name}.in").write_bytes(b"".join(x.tobytes() for row in given for x in row))
        wanted[name] = b"".join(x.tobytes() for row in given for x in reference(row))
    flags = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert outputs_of_program(tmp_path, described, flags, 20) == wanted


def published():
    """The int8 files of MLPerf Tiny by name, where they are there."""
    found = sorted((FOLDER / "mlperf_tiny").glob("*/*_int8.tflite"))
    return {path.parent.name: path.read_bytes() for path in found}


@pytest.mark.slow
@pytest.mark.skipif(not published(), reason="the files of MLPerf Tiny aren't there")
def test_published_networks_equal_the_reference_kernels(tmp_path):
    files = published()
    for name, run in compiled(tmp_path, files).items():
        assert_equal(run, files[name], 100)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="no compiler for Cortex-M")
@pytest.mark.parametrize("cpu", ["cortex-m0plus", "cortex-m4", "cortex-m7", "cortex-m55"])
def test_compiles_for_microcontrollers(tmp_path, cpu):
    files = published() or {"conv": drawn("CONV_2D", 0), "softmax": drawn("SOFTMAX", 0)}
    described = write(tmp_path, files)
    for name, source in described.items():
        flags = [f"-mcpu={cpu}", "-mthumb", "-ffreestanding", *STRICT, "-c", f"{name}.c"]
        subprocess.run(["arm-none-eabi-gcc", *flags], cwd=tmp_path, check=True)
        size = ["arm-none-eabi-size", "--format=sysv", f"{name}.o"]
        told = subprocess.run(size, cwd=tmp_path, check=True, capture_output=True, text=True)
        sections = dict(line.split()[:2] for line in told.stdout.splitlines() if line[:1] == ".")
        flash = sum(int(n) for key, n in sections.items() if key.startswith((".text", ".rodata")))
        print(cpu, name, "flash", flash, "arena", sections[".bss"])
        assert int(sections[".bss"]) == source.arena_bytes
        assert len(source.constants) < flash < len(source.constants) + 8192


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(drawn("CONV_2D", 1))
    return path


def exported(file, tmp_path, worker, **options):
    return export(file, tmp_path / "out", ("c-standalone",), ("int8",), worker=worker, **options)


def test_an_export_is_verified_by_the_outputs_of_its_source(file, tmp_path, worker, monkeypatch):
    result = exported(file, tmp_path, worker)
    (artifact,) = result.artifacts
    folder = tmp_path / "out"
    assert artifact.verified.passed
    assert artifact.arena_bytes > 0
    header = (folder / "model_int8_standalone.h").read_text()
    assert f"MODEL_INT8_STANDALONE_ARENA_BYTES {artifact.arena_bytes}\n" in header
    assert f"MODEL_INT8_STANDALONE_CONSTANT_BYTES {artifact.bytes}\n" in header
    # A source that computes something else isn't published, whatever the TFLite file gives.
    kernels = shutil.copytree(program._KERNELS, tmp_path / "kernels")
    wrong = (kernels / "conv_2d.c").read_text().replace("+ p->out_offset", "- p->out_offset")
    (kernels / "conv_2d.c").write_text(wrong)
    monkeypatch.setattr(program, "_KERNELS", kernels)
    result = exported(file, tmp_path, worker, force=True)
    assert not result.artifacts
    assert [failed.format for failed in result.failed] == ["c-standalone"]


def test_an_operator_without_a_kernel_is_named(tmp_path, worker):
    path = tmp_path / "net.tflite"
    path.write_bytes(drawn("SUM", 0))
    (skipped,) = exported(path, tmp_path, worker).skipped
    assert skipped.reason == "c-standalone has no SUM; --format c has"
    assert not (tmp_path / "out").exists()


def test_without_a_compiler_nothing_is_published(file, tmp_path, worker, monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(library, "_COMPILERS", ("no-such-compiler",))
    (skipped,) = exported(file, tmp_path, worker).skipped
    assert "no C compiler" in skipped.reason
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("io", ["int8", "float"])
def test_a_model_with_branches(tmp_path, worker, io):
    keras.utils.set_random_seed(0)
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu6")(image)
    y = layers.DepthwiseConv2D(3, strides=2, padding="same", activation="relu")(x)
    y = layers.UpSampling2D(2)(y)
    x = layers.Add()([x, layers.Activation("hard_swish")(y)])
    x = layers.Concatenate()([layers.AveragePooling2D(2)(x), layers.MaxPooling2D(2)(x)])
    x = layers.GlobalAveragePooling2D()(layers.ZeroPadding2D()(x))
    model = keras.Model(image, layers.Dense(4, activation="softmax")(x))
    x = np.random.default_rng(0).normal(size=(64, 12, 12, 3)).astype("float32")
    y = np.asarray(model(x)).argmax(-1)
    data = {"x_train": x, "y_train": y, "x_val": x, "y_val": y,
            "class_names": np.array(["a", "b", "c", "d"])}  # fmt: skip
    folder = tmp_path / "out"
    result = export(model, folder, ("tflite", "c", "c-standalone"), ("int8",), data, io,
                    worker=worker)  # fmt: skip
    assert [artifact.format for artifact in result] == ["tflite", "c", "c-standalone"], result
    assert '_LABELS {"a", "b", "c", "d"}' in (folder / "model_int8_standalone.h").read_text()
    content = (folder / "model_int8.tflite").read_bytes()
    assert_equal(compiled(tmp_path, {"net": content})["net"], content, 50)
