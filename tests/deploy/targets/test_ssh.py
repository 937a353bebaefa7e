"""Boards behind SSH: a real sshd on loopback, the real runner, real faults."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from arm_board import DEBOOTSTRAP, QEMU, build_board
from sshd import SSHD, Server, make_key, settles, sshd

from edgepress.benchmarks.measuring import candidates, measure
from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.benchmarks.statistics.sampling import Plan
from edgepress.benchmarks.target import Job, RunOptions
from edgepress.compress.errors import DeviceError, InputError
from edgepress.deploy.benchmarking.benchmark import benchmark
from edgepress.deploy.targets import target_for
from edgepress.deploy.targets.local import LocalTarget

pytest.importorskip("asyncssh")
pytestmark = pytest.mark.skipif(not SSHD, reason="openssh-server is not installed")


def _alive(marker: str) -> list[int]:
    """Processes whose command line holds the marker."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker in entry.read_text().replace("\0", " "):
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def _url(server: Server, port: int | None = None, **options: str) -> str:
    return server.url(port, **{"python": sys.executable, **options})


def test_a_board_measures_and_gives_outputs_back(server: Server, resnet_float: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)
    target = target_for(_url(server))
    with LocalTarget().open(resnet_float, RunOptions()) as here:
        (expected,) = here.predict({"x": x}).values()
    assert target.environment()["cores"] == os.cpu_count()
    with target.open(resnet_float, RunOptions(threads=2)) as session:
        assert session.run(Job(5, discard=2)).n == 5
        (got,) = session.predict({"x": x}).values()
        assert session.facts().load_ms > 0
    target.close()
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_many_artifacts_are_interleaved_over_one_board(
    server: Server, resnet_float: Path, tmp_path: Path
) -> None:
    files = [tmp_path / f"{i}.tflite" for i in range(7)]
    for file in files:
        file.write_bytes(resnet_float.read_bytes())
    result = benchmark(files, devices=[_url(server)], runs=4, launches=1)
    assert [m.path for m in result.measurements] == files
    assert result.failures == ()
    assert result.to_json()["device"]["url"].startswith("ssh://")
    assert "key=" not in result.to_json()["device"]["name"]


def test_a_changed_host_key_is_refused(server: Server, resnet_float: Path, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other")
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{server.ports[0]} {other}\n")
    with pytest.raises(DeviceError, match="host key") as caught:
        benchmark([resnet_float], devices=[_url(server, known_hosts=str(known))], runs=1)
    assert caught.value.exit_code == 3
    known.write_text("")
    with pytest.raises(DeviceError, match="ssh-keyscan"):
        benchmark([resnet_float], devices=[_url(server, known_hosts=str(known))], runs=1)


def test_a_wrong_key_is_refused(server: Server, resnet_float: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "stranger")
    with pytest.raises(DeviceError, match=r"refused the login.*ssh-copy-id"):
        benchmark([resnet_float], devices=[_url(server, key=str(tmp_path / "stranger"))], runs=1)


def test_a_board_without_python_says_what_to_do(server: Server, resnet_float: Path) -> None:
    with pytest.raises(DeviceError, match="has no python9"):
        benchmark([resnet_float], devices=[_url(server, python="python9")], runs=1)


def test_a_board_without_the_runtime_says_what_to_install(
    server: Server, resnet_float: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(DeviceError, match="pip install numpy ai-edge-litert"):
        benchmark([resnet_float], devices=[_url(server, python=str(bare))], runs=1, launches=1)


def test_nobody_there(resnet_float: Path) -> None:
    with pytest.raises(DeviceError, match="can't be reached"):
        benchmark([resnet_float], devices=["ssh://nobody@127.0.0.1:1"], runs=1)


def test_a_killed_runner_is_reported_and_results_so_far_are_kept(
    server: Server, resnet_float: Path, resnet_int8: Path
) -> None:
    target = target_for(_url(server))
    chosen = candidates([resnet_float, resnet_int8], (1,), (None,), RunOptions())

    class Killer:
        """Kills the first artifact's runner once some rounds are over."""

        def stage(self, text: str) -> None:
            pass

        def step(self, done: int, total: int, text: str = "") -> None:
            if done == 3:
                pids = sorted(_alive(f"{server.temporary}"), key=_age)
                runners = [
                    p for p in pids if "runner.py" in _command(p) and "sh -c" not in _command(p)
                ]
                os.kill(runners[0], signal.SIGKILL)

    result = measure(chosen, target, Plan(runs=40, launches=1, rounds=8), progress=Killer())
    target.close()
    (failure,) = result.failures
    assert "killed" in failure.reason
    by_name = {m.name: m.series.values.size for m in result.measurements}
    assert by_name[failure.artifact] == 15
    assert set(by_name.values()) == {15, 40}


def _age(pid: int) -> tuple[int, int]:
    """When a process began; numbers start again when they are used up."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return sys.maxsize, pid
    return int(told.rpartition(")")[2].split()[19]), pid


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def test_a_pulled_cable_is_one_line_and_leaves_nothing_running(
    server: Server, resnet_float: Path
) -> None:
    target = target_for(_url(server))
    with target.open(resnet_float, RunOptions()) as session:
        session.run(Job(1))
        for pid in _children(server.pid):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(DeviceError, match="lost"):
            session.run(Job(1))
    target.close()
    assert settles(lambda: not _alive(f"{server.temporary}/"))


def _children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_time_limit_ends_the_remote_process_too(server: Server, resnet_float: Path) -> None:
    target = target_for(_url(server))
    with target.open(resnet_float, RunOptions()) as session:
        with pytest.raises(DeviceError, match=r"within 0\.3 s"):
            session.runtime.ask({"do": "time", "n": 10**6}, timeout=0.3)
        assert [p for p in _alive(str(server.temporary)) if "runner.py" in _command(p)]
    assert settles(
        lambda: not [p for p in _alive(str(server.temporary)) if "runner.py" in _command(p)]
    )
    target.close()


def test_two_runs_on_one_board_exclude_each_other(server: Server, resnet_float: Path) -> None:
    first = target_for(_url(server))
    first.environment()
    with pytest.raises(DeviceError, match="measured by another run"):
        benchmark([resnet_float], devices=[_url(server)], runs=1)
    first.close()
    assert benchmark([resnet_float], devices=[_url(server)], runs=1).measurements


def test_a_full_disk_is_named(server: Server, resnet_float: Path, tmp_path: Path) -> None:
    disk = server.temporary
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(DeviceError, match="disk full"):
            benchmark([resnet_float], devices=[_url(server)], runs=1, launches=1)
    finally:
        settles(lambda: not _alive(f"{disk}/"))
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_wheels_are_installed_for_the_run_only(
    server: Server, resnet_float: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "wheels"
    empty.mkdir()
    with pytest.raises(InputError, match="holds no wheels"):
        benchmark([resnet_float], devices=[_url(server, wheels=str(empty))], runs=1)


def test_addresses_are_checked() -> None:
    for url, words in {
        "ssh://": "not an address",
        "ssh://host/path": "not an address",
        "ssh://host:port": "not an address",
        "ssh://host?colour=red": "unknown option 'colour'",
        "ssh://host?key=": "no value",
    }.items():
        with pytest.raises(InputError, match=words):
            target_for(url)


@pytest.mark.slow
@pytest.mark.skipif(not (QEMU and DEBOOTSTRAP), reason="qemu-user-static or debootstrap is missing")
def test_an_arm_board_computes_what_this_machine_computes(
    server: Server,
    resnet_float: Path,
    resnet_int8: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    kept = os.environ.get("EDGEPRESS_ARM_ROOT")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("arm")
    try:
        python = build_board(folder)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the arm64 packages can't be had: {error}")
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    with Runtime(resnet_int8) as here:
        (expected,) = here.predict({"x": x}).values()
    url = _url(server, python=str(python))
    target = target_for(url)
    told = target.environment()
    with target.open(resnet_int8, RunOptions()) as session:
        (got,) = session.predict({"x": x}).values()
    target.close()
    assert told["machine"] == "aarch64"
    np.testing.assert_array_equal(got, expected)
    result = benchmark([resnet_float, resnet_int8], devices=[url], runs=5, launches=1)
    assert not any(row["timing_valid"] for row in result.to_json()["rows"])
    assert result.to_json()["comparisons"] == []


_SIGNED = """#!/bin/sh
BOARD=${{SSH_CONNECTION##* }} PYTHONPATH={folder} exec {python} "$@"
"""
_SIGNATURE = """
import importlib.metadata, os, platform
version = importlib.metadata.version
importlib.metadata.version = lambda name: f"{version(name)} of {os.environ['BOARD']}"
platform.release = lambda: os.environ["BOARD"]
"""


def _signing_python(folder: Path) -> str:
    """A Python that signs what it tells with the port through which sshd let it in."""
    (folder / "sitecustomize.py").write_text(_SIGNATURE)
    program = folder / "python3"
    program.write_text(_SIGNED.format(folder=folder, python=sys.executable))
    program.chmod(0o755)
    return str(program)


class _KillerOfOne:
    """Kills one board's runner between its third round and its fourth."""

    def __init__(self, device: str, folder: Path) -> None:
        self.device, self.folder = device, folder

    def stage(self, text: str) -> None:
        pass

    def step(self, done: int, total: int, text: str = "") -> None:
        if done == 3 and text.startswith(f"{self.device}: "):
            (runner,) = _runners_of(self.folder, int(self.device.rsplit(":", 1)[1]))
            os.kill(runner, signal.SIGKILL)


@pytest.mark.slow
def test_fifty_boards_at_once_and_one_is_killed(tmp_path: Path, resnet_float: Path) -> None:
    python = _signing_python(tmp_path)
    with ExitStack() as stack:
        boards = {}
        for i in range(5):  # one sshd listens on 16 ports at most
            folder = tmp_path / str(i)
            folder.mkdir()
            server = stack.enter_context(sshd(folder, ports=10))
            boards.update({port: server.url(port, python=python) for port in server.ports})
        victim = list(boards)[17]
        killer = _KillerOfOne(boards[victim].partition("?")[0], tmp_path)
        result = benchmark(
            [resnet_float],
            devices=list(boards.values()),
            runs=10,
            launches=1,
            max_seconds=3600.0,  # fifty runners share this machine: no round may be cut off
            progress=killer,
        )
        assert settles(lambda: not [*tmp_path.glob("*/tmp/*")]), "left on a board"
    rows = {int(m.device.rsplit(":", 1)[1]): m for m in result.measurements}
    assert [int(d.url.rsplit(":", 1)[1]) for d in result.devices] == list(boards)
    assert list(rows) == list(boards)
    assert {p: m.series.values.size for p, m in rows.items()} == {
        port: 3 if port == victim else 10 for port in boards
    }
    del rows[victim]  # it told nothing about itself before it died
    assert {p: m.facts.runtime.rsplit(" ", 1)[1] for p, m in rows.items()} == {
        port: str(port) for port in rows
    }
    assert [d.environment and d.environment.before["system"] for d in result.devices] == [
        f"Linux {port}" for port in boards
    ]
    (failure,) = result.failures
    assert failure.device == killer.device
    assert "killed" in failure.reason


def _runners_of(folder: Path, port: int) -> list[int]:
    """The runners that were started through one port, without the shells around them."""
    commands = {pid: _command(pid) for pid in _alive(str(folder))}
    found = [p for p, c in commands.items() if "runner.py" in c and "sh -c" not in c]
    return [pid for pid in found if _on_port(pid, port)]


def _on_port(pid: int, port: int) -> bool:
    try:
        told = Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except OSError:
        return False
    return any(v.startswith("SSH_CONNECTION=") and v.endswith(f" {port}") for v in told.split("\0"))
