"""Devices without Python: the runner in C with LiteRT's library out of its wheel."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import ai_edge_litert
import numpy as np
import pytest
from adbd import Adbd
from arm_board import DEBOOTSTRAP, QEMU, build_board
from sshd import SSHD, Server, sshd

from edgepress.benchmarks.accuracy import Judge
from edgepress.benchmarks.measuring import candidates, measure
from edgepress.benchmarks.statistics.sampling import Plan
from edgepress.benchmarks.target import Job, RunOptions
from edgepress.benchmarks.tflite.graph import read_graph
from edgepress.compress.errors import DeviceError, InputError
from edgepress.deploy.benchmarking.benchmark import benchmark
from edgepress.deploy.targets import check_device, target_for
from edgepress.deploy.targets.local import LocalTarget
from edgepress.deploy.targets.native_runner import SOURCE, compile_runner, find_library
from edgepress.deploy.targets.shell_host import SCRIPT, parse_host

COMPILER = shutil.which("cc")
CROSS = shutil.which("aarch64-linux-gnu-gcc")
LIBRARY = Path(ai_edge_litert.__file__).with_name("libLiteRt.so")
needs_compiler = pytest.mark.skipif(not COMPILER, reason="there is no C compiler")
needs_adb = pytest.mark.skipif(not shutil.which("adb"), reason="adb is not installed")
needs_sshd = pytest.mark.skipif(not SSHD, reason="openssh-server is not installed")

# What a small board's shell finds; `as` and `ld` are what cc needs.
_PROGRAMS = (
    "sh", "cat", "mkdir", "mktemp", "rm", "timeout", "sha256sum", "uname", "head", "sed", "grep",
    "sort", "tail", "tr", "chmod", "sleep",
)  # fmt: skip
_BUILDING = ("cc", "as", "ld")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that holds the library, as `pip download` would give it."""
    path = tmp_path_factory.mktemp("wheel") / "ai_edge_litert-2.3.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(LIBRARY, "ai_edge_litert/libLiteRt.so")
    return path


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Server]:
    """A board whose shell finds no Python."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in (*_PROGRAMS, *_BUILDING):
        if found := shutil.which(name):
            (programs / name).symlink_to(found)
    with sshd(tmp_path, path=str(programs)) as running:
        yield running


@needs_sshd
@needs_compiler
def test_a_board_without_python_measures_and_gives_outputs(
    board: Server, wheel: Path, resnet_float: Path, resnet_int8: Path
) -> None:
    pytest.importorskip("asyncssh")
    x = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype(np.float32)
    with pytest.raises(DeviceError, match=r"has no python3.*litert=WHEEL"):
        benchmark([resnet_int8], devices=[board.url()], runs=1, launches=1)
    url = board.url(litert=str(wheel))
    assert check_device(url).ok
    target = target_for(url)
    assert target.environment()["machine"] == platform.machine()
    for file in (resnet_float, resnet_int8):
        with LocalTarget().open(file, RunOptions()) as here:
            (expected,) = here.predict({"x": x}).values()
        with target.open(file, RunOptions(threads=2, cpus=(0,))) as session:
            assert session.run(Job(5, discard=2)).n == 5
            facts = session.facts()
            (got,) = session.predict({"x": x}).values()
        assert facts.cpus == (0,)
        assert facts.peak_memory_bytes
        np.testing.assert_allclose(got, expected, atol=1e-5)
    target.close()
    rows = benchmark(
        [resnet_float], devices=[url], runs=4, launches=2, batch=[1, 4], xnnpack=False
    ).to_json()["rows"]
    assert [(r["batch"], r["runs"], r["xnnpack"]) for r in rows] == [(1, 4, False), (4, 4, False)]
    assert list(board.temporary.iterdir()) == []


@needs_sshd
@needs_compiler
def test_a_board_without_python_tells_the_time_of_each_operator(
    board: Server, resnet_int8: Path
) -> None:
    pytest.importorskip("asyncssh")
    target = target_for(board.url(litert=str(LIBRARY)))
    profile = target.profile(resnet_int8, RunOptions())
    target.close()
    assert len(profile.operators) == len(read_graph(resnet_int8).operators)
    assert any(o.gflops for o in profile.operators)
    assert profile.peak == {}  # there is no NumPy to measure it with
    assert list(board.temporary.iterdir()) == []


@needs_sshd
@needs_compiler
def test_the_runner_is_built_here_where_the_board_has_no_compiler(
    board: Server, resnet_int8: Path
) -> None:
    pytest.importorskip("asyncssh")
    (board.folder / "bin/cc").unlink()
    with pytest.raises(DeviceError, match="has no C compiler") as caught:
        benchmark([resnet_int8], devices=[board.url(litert=str(LIBRARY))], runs=1, launches=1)
    assert "cc=" in caught.value.format_message()
    url = board.url(litert=str(LIBRARY), cc=str(COMPILER))
    assert benchmark([resnet_int8], devices=[url], runs=2, launches=1).measurements


@needs_sshd
def test_what_is_not_for_the_board_is_refused(
    board: Server, onnx_file: Path, resnet_int8: Path, tmp_path: Path
) -> None:
    pytest.importorskip("asyncssh")
    for options, words in (
        ({"litert": str(tmp_path / "none")}, "does not exist"),
        ({"litert": str(resnet_int8)}, "neither libLiteRt.so nor a wheel"),
    ):
        with pytest.raises(InputError, match=words):
            benchmark([resnet_int8], devices=[board.url(**options)], runs=1)
    for options, words in (
        ({"litert": "a", "python": "b"}, "leave out python"),
        ({"cc": "gcc"}, "cc builds the runner"),
    ):
        with pytest.raises(InputError, match=words):
            target_for(board.url(**options))
    url = board.url(litert=str(LIBRARY))
    with pytest.raises(InputError, match="--delegate has no effect"):
        benchmark([resnet_int8], devices=[url], runs=1, delegates=["a.so"])
    with pytest.raises(DeviceError, match="needs Python"):
        benchmark([onnx_file], devices=[url], runs=1, launches=1)


def test_a_library_for_another_machine_is_refused(wheel: Path, tmp_path: Path) -> None:
    assert find_library(wheel, tmp_path, platform.machine()).read_bytes()[:4] == b"\x7fELF"
    with pytest.raises(InputError, match=f"for {platform.machine()}, and the device is riscv64"):
        find_library(wheel, tmp_path, "riscv64")
    empty = tmp_path / "empty.whl"
    zipfile.ZipFile(empty, "w").close()
    with pytest.raises(InputError, match="holds no libLiteRt"):
        find_library(empty, tmp_path, "aarch64")


def test_an_android_archive_holds_one_library_for_each_abi(tmp_path: Path) -> None:
    archive = tmp_path / "litert.aar"
    machines = {"x86_64": 62, "arm64-v8a": 183, "armeabi-v7a": 40}
    with zipfile.ZipFile(archive, "w") as file:
        for abi, number in machines.items():
            file.writestr(f"jni/{abi}/libLiteRt.so", b"\x7fELF" + bytes(14) + bytes([number, 0]))
    for abi, number in machines.items():
        assert find_library(archive, tmp_path, abi).read_bytes()[18] == number
    with pytest.raises(InputError, match="the device is riscv64") as caught:
        find_library(archive, tmp_path, "riscv64")
    assert "manylinux" not in caught.value.hint
    alone = tmp_path / "libLiteRt.so"
    alone.write_bytes(b"\x7fELF" + bytes(14) + bytes([62, 0]))
    with pytest.raises(InputError, match="the device is arm64-v8a") as caught:
        find_library(alone, tmp_path, "arm64-v8a")
    assert ".aar" in caught.value.hint


def test_a_compiler_that_fails_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no compiler 'nobody-gcc'"):
        compile_runner("nobody-gcc -O3", tmp_path)
    bad = tmp_path / "bad-cc"
    bad.write_text("#!/bin/sh\necho 'x.c:1: error: no such thing' >&2\nexit 1\n")
    bad.chmod(0o755)
    with pytest.raises(DeviceError, match=r"can't build the runner: .*no such thing"):
        compile_runner(str(bad), tmp_path)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runner, built with every warning an error."""
    if not COMPILER:
        pytest.skip("there is no C compiler")
    strict = f"{COMPILER} -Wall -Wextra -Werror -fsanitize=undefined -fno-sanitize-recover"
    return compile_runner(strict, tmp_path_factory.mktemp("runner"))


def _ask(runner: Path, *requests: object) -> list[dict[str, object]]:
    lines = "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in requests)
    done = subprocess.run([runner, LIBRARY], input=lines, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_nonsense_is_answered_not_obeyed(runner: Path, resnet_int8: Path, tmp_path: Path) -> None:
    load = {"do": "load", "path": str(resnet_int8)}
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"not a model")
    replies = _ask(
        runner, "garbage", {"do": "time", "n": 1}, {"do": "load"}, {"do": "fly"},
        {"do": "load", "path": str(broken)}, {**load, "cpus": [0, 4095]}, load,
        {"do": "predict", "inputs": [], "outputs": [], "runs": 1},
        {"do": "predict", "inputs": [str(broken)], "outputs": ["/dev/null"], "runs": 1},
        {"do": "time", "n": 2, "discard": 1},
    )  # fmt: skip
    assert [r["ok"] for r in replies] == [False] * 6 + [True, False, False, True]
    assert "no core 4095" in str(replies[5]["error"])
    assert "files are named" in str(replies[7]["error"])
    assert "short" in str(replies[8]["error"])


@pytest.mark.slow
@pytest.mark.skipif(not (QEMU and DEBOOTSTRAP), reason="qemu-user-static or debootstrap is missing")
@pytest.mark.skipif(not CROSS, reason="gcc-aarch64-linux-gnu is not installed")
def test_an_arm_board_without_python_computes_the_same(
    resnet_int8: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept = os.environ.get("EDGEPRESS_ARM_ROOT")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("arm")
    try:
        build_board(folder)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the arm64 packages can't be had: {error}")
    built = compile_runner(str(CROSS), tmp_path)
    library = folder / "site/ai_edge_litert/libLiteRt.so"
    assert find_library(library, tmp_path, "aarch64") == library
    x = np.random.default_rng(0).integers(-128, 128, (3, 32, 32, 3)).astype(np.int8)
    x.tofile(tmp_path / "in.raw")
    requests = (
        {"do": "load", "path": str(resnet_int8)},
        {"do": "predict", "inputs": [str(tmp_path / "in.raw")],
         "outputs": [str(tmp_path / "out.raw")], "runs": 3},
    )  # fmt: skip
    done = subprocess.run(
        [str(QEMU), "-cpu", "cortex-a72", "-L", str(folder / "root"), str(built), str(library)],
        input="".join(json.dumps(r) + "\n" for r in requests),
        capture_output=True,
        text=True,
    )
    assert [json.loads(line)["ok"] for line in done.stdout.splitlines()] == [True, True]
    with LocalTarget().open(resnet_int8, RunOptions()) as here:
        (expected,) = here.runtime.predict({"x": x}, real=False).values()
    got = np.fromfile(tmp_path / "out.raw", np.int8).reshape(3, 10)
    np.testing.assert_array_equal(got, expected)


def test_names_of_files_may_hold_anything(runner: Path, resnet_int8: Path, tmp_path: Path) -> None:
    odd = tmp_path / 'modèle "ß" \\ 日本.tflite'
    odd.write_bytes(resnet_int8.read_bytes())
    (reply,) = _ask(runner, {"do": "load", "path": str(odd)})
    assert reply["ok"], reply


def test_it_describes_tensors_as_python_does(
    runner: Path, resnet_float: Path, resnet_int8: Path
) -> None:
    for file in (resnet_float, resnet_int8):
        _, told = _ask(runner, {"do": "load", "path": str(file)}, {"do": "describe"})
        with LocalTarget().open(file, RunOptions()) as session:
            expected = session.runtime.describe()
        for side in ("inputs", "outputs"):
            # LiteRT's C API tells the size that a tensor has now, not that its batch is free.
            sizes = [{**s, "shape": [n or 1 for n in s["shape"]]} for s in expected[side]]
            assert told[side] == sizes
        assert told["cpus"] == sorted(os.sched_getaffinity(0))


def test_the_shell_tells_what_python_tells() -> None:
    done = subprocess.run(["sh", "-c", SCRIPT], capture_output=True, text=True, check=True)
    told, expected = parse_host(done.stdout), LocalTarget().environment()
    for name in ("machine", "system", "cores", "governor", "throttled"):
        assert told[name] == expected[name]
    assert told.keys() == expected.keys() - {"cpus", "python"}
    assert len(told["load"]) == 3
    assert SOURCE.exists()


@pytest.mark.slow
@needs_adb
@needs_compiler
def test_a_phone_gives_outputs_back(
    phone: Adbd, binary: Path, resnet_float: Path, resnet_int8: Path
) -> None:
    phone.properties["ro.product.cpu.abi"] = platform.machine()
    x = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3)).astype(np.float32)
    with LocalTarget().open(resnet_float, RunOptions()) as here:
        truth = next(iter(here.predict({"x": x}).values())).argmax(1)

    def score(outputs: list[np.ndarray], targets: np.ndarray) -> float:
        return float(np.mean(outputs[0].argmax(1) == targets))

    by = Judge("accuracy", "test", lambda: [({"x": x[:5]}, truth[:5]), ({"x": x[5:]}, truth[5:])],
               score, len(x))  # fmt: skip
    address = f"adb:127.0.0.1:{phone.port}?benchmark_model={binary}"
    target = target_for(f"{address}&litert={LIBRARY}&cc={COMPILER}")
    chosen = candidates([resnet_float, resnet_int8], (1,), (None,), RunOptions(cpus=(0,)))
    result = measure(chosen, target, Plan(runs=2, launches=1), by=by)
    target.close()
    assert not result.failures
    values = [m.value for m in result.measurements]
    assert values[0] == 1.0
    assert values[1] is not None
    assert values[1] > 0.5
    assert list(phone.root.iterdir()) == []


@needs_adb
def test_a_phone_says_what_it_lacks(phone: Adbd, binary: Path, resnet_int8: Path) -> None:
    address = f"adb:127.0.0.1:{phone.port}?benchmark_model={binary}"
    with pytest.raises(InputError, match="both litert and cc"):
        target_for(f"{address}&litert=x")
    with pytest.raises(InputError, match="and the device is arm64-v8a"):
        benchmark([resnet_int8], devices=[f"{address}&litert={LIBRARY}&cc=cc"], runs=1)
    assert list(phone.root.iterdir()) == []
    target = target_for(address)
    with (
        target.open(resnet_int8, RunOptions()) as session,
        pytest.raises(DeviceError, match="give outputs back") as caught,
    ):
        session.predict({"x": np.zeros((1, 32, 32, 3))})
    target.close()
    assert "litert=" in caught.value.hint
