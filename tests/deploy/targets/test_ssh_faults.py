"""What goes wrong on a board: one clear line each, results so far kept, nothing left there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sshd import SSHD, Server
from tiny_models import unknown_operator_tflite

from edgepress.benchmarks.measuring import candidates, measure
from edgepress.benchmarks.statistics.sampling import Plan
from edgepress.benchmarks.target import RunOptions
from edgepress.compress.errors import DeviceError, InputError
from edgepress.deploy.benchmarking.benchmark import benchmark
from edgepress.deploy.targets import check_device, target_for

pytest.importorskip("asyncssh")
pytestmark = pytest.mark.skipif(not SSHD, reason="openssh-server is not installed")


def _python(folder: Path, script: str) -> str:
    """A program that stands for the board's Python."""
    path = folder / "python3"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def _one_line(server: Server, file: Path, python: str, words: str) -> None:
    url = server.url(python=python)
    with pytest.raises(DeviceError, match=words) as caught:
        benchmark([file], devices=[url], runs=2, launches=1)
    assert caught.value.exit_code == 3
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("kilobytes", [40_000, 90_000])
def test_a_runner_without_memory(
    server: Server, resnet_float: Path, tmp_path: Path, kilobytes: int
) -> None:
    limited = f'case $1 in *runner.py) ulimit -v {kilobytes};; esac; exec {sys.executable} "$@"'
    _one_line(server, resnet_float, _python(tmp_path, limited), "ran out of memory")


def test_a_runner_that_the_kernel_killed(
    server: Server, resnet_float: Path, tmp_path: Path
) -> None:
    killed = f'case $1 in *runner.py) kill -9 $$;; esac; exec {sys.executable} "$@"'
    _one_line(server, resnet_float, _python(tmp_path, killed), "killed .*out of memory")


def test_garbage_instead_of_answers(server: Server, resnet_float: Path, tmp_path: Path) -> None:
    garbage = f'case $1 in *runner.py) echo hello; cat;; *) exec {sys.executable} "$@";; esac'
    python = _python(tmp_path, garbage)
    _one_line(server, resnet_float, python, "the runner said 'hello'")
    for said, words in (("hello", "said 'hello'"), ("", "said 'nothing'"), ("42", "said '42'")):
        _one_line(server, resnet_float, _python(tmp_path, f"echo {said}"), words)


def test_an_operator_that_the_runtime_lacks(
    server: Server, resnet_float: Path, tmp_path: Path
) -> None:
    odd = unknown_operator_tflite(tmp_path / "odd.tflite")
    url = server.url(python=sys.executable)
    result = benchmark([resnet_float, odd], devices=[url], runs=4, launches=1)
    assert [m.path for m in result.measurements] == [resnet_float]
    (failure,) = result.failures
    assert failure.artifact == str(odd)
    assert "NoSuchOperator" in failure.reason
    assert "\n" not in failure.reason


def test_a_cable_pulled_in_the_middle_keeps_the_rounds_so_far(
    server: Server, resnet_float: Path
) -> None:
    target = target_for(server.url(python=sys.executable))
    chosen = candidates([resnet_float], (1,), (None,), RunOptions())

    class Puller:
        """Cuts the connection once some rounds are over."""

        def stage(self, text: str) -> None:
            pass

        def step(self, done: int, total: int, text: str = "") -> None:
            if done == 3:
                for pid in _children(server.pid):
                    os.kill(pid, signal.SIGKILL)

    result = measure(chosen, target, Plan(runs=40, launches=1, rounds=8), progress=Puller())
    target.close()
    (failure,) = result.failures
    assert "lost" in failure.reason
    (measured,) = result.measurements
    assert measured.series.values.size == 15


def _children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_wheels_go_to_boards_only(server: Server, resnet_float: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bootstrap has no effect on 'local'"):
        benchmark([resnet_float], bootstrap=tmp_path)
    bad = tmp_path / "wheels"
    bad.mkdir()
    (bad / "nothing-1-py3-none-any.whl").write_bytes(b"not a wheel")
    url = server.url(python=sys.executable)
    with pytest.raises(DeviceError, match="could not install the wheels"):
        benchmark([resnet_float], devices=[url], bootstrap=bad, runs=1)


@pytest.mark.slow
def test_a_bare_board_is_bootstrapped_and_left_as_it_was(
    server: Server, resnet_float: Path, tmp_path: Path
) -> None:
    wheels = tmp_path / "the wheels"
    command = [sys.executable, "-m", "pip", "download", "-q", "-d", str(wheels),
               "--only-binary=:all:", "ai-edge-litert==2.3.0", "numpy"]  # fmt: skip
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("the wheels can't be had")
    bare = shutil.which("python3", path=f"{sys.base_prefix}/bin") or sys.executable
    url = server.url(python=_python(tmp_path, f'exec {bare} -I "$@"'))
    with pytest.raises(DeviceError, match="pip install numpy ai-edge-litert"):
        benchmark([resnet_float], devices=[url], runs=1, launches=1)
    assert check_device(url, wheels).ok
    result = benchmark([resnet_float], devices=[url], bootstrap=wheels, runs=4, launches=1)
    assert result.measurements[0].facts.runtime == "LiteRT 2.3.0"
