"""A process that has loaded everything once and forks for each command line it is sent.

It runs no operation itself: TensorFlow makes its threads at the first one, and threads don't live
on in a fork. Run as a script with the path of a socket. Each connection gets a fork that serves it,
so several command lines run at once. A request is a mapping (`folder`, `words`, `limits`, `modes`,
`seconds`, `memory_bytes`, whether it runs `alone` in its process, and where it is to be ended
`stop`: after how many seconds and by which signal), and so is its answer (`code`, `signal`, `hung`,
`peak_bytes`, `seconds`, `used_s`, `orphans`, `out`, `err`).
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import itertools
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

_LOOK_S = 0.2  # between looks at memory and time
_WAITS = 10
_LOOKS = 8
# <linux/prctl.h>, <linux/securebits.h>, <linux/capability.h>
_PR_SET_SECUREBITS, _NO_ROOT, _CAPABILITIES_3 = 28, 3, 0x20080522
_PR_SET_CHILD_SUBREAPER = 36
_MOST_TURNS = 40  # of a fork that runs several
_ORPHANS_LIVE_S = 5.0  # until the kernel has told them that their parent is gone
# What is printed is read whole; nobody reads more than this of it.
_MOST_TEXT = 200_000


def _load_everything() -> None:
    import importlib

    for name in (
        "tensorflow",
        "keras",
        "pandas",
        "sklearn.model_selection",
        "PIL.Image",
        "yaml",
        "pydantic",
        "onnx",
        "edgepress.deploy.cli",
        "edgepress.deploy.exporting.export",
        "edgepress.deploy.pipeline",
        "edgepress.compress.training.finetuning",
        "edgepress.compress.doctor",
        "edgepress.benchmarks.report",
    ):
        importlib.import_module(name)
    from edgepress.deploy.cli.main import COMMANDS

    for module, _ in COMMANDS.values():
        importlib.import_module(f"edgepress.deploy.cli.commands.{module}")


def _limit(limits: dict[str, int]) -> None:
    names = {"file_bytes": resource.RLIMIT_FSIZE, "open_files": resource.RLIMIT_NOFILE}
    for name in names.keys() & limits.keys():
        resource.setrlimit(names[name], (limits[name], limits[name]))


def _jump(seconds: int) -> None:
    """Let the clock of this process jump once it was looked at some times."""
    plain, looks = time.time, itertools.count()
    if seconds:
        time.time = lambda: plain() + (seconds if next(looks) > _LOOKS else 0)


def _become_ordinary(modes: dict[str, int]) -> None:
    """Set permissions, and give up what lets root pass them (capabilities(7)), children too."""
    for name, mode in modes.items():
        Path(name).chmod(mode)
    c = ctypes.CDLL(None, use_errno=True)
    c.prctl(_PR_SET_SECUREBITS, _NO_ROOT, 0, 0, 0)
    head, none = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0), (ctypes.c_uint32 * 6)()
    if c.capset(head, none) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _enter(request: dict[str, Any]) -> None:
    """In a fork: be where a command line is run, and let it write to the case's logs."""
    import tempfile

    folder = Path(request["folder"])
    for number, log in enumerate(_logs(request), start=1):
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(folder / "place")
    os.environ.update(
        HOME=str(folder / "home"),
        TMPDIR=str(folder / "tmp"),
        EDGEPRESS_DEVICES=str(folder / "place" / "devices.yaml"),
    )
    tempfile.tempdir = None


def _logs(request: dict[str, Any]) -> tuple[Path, Path]:
    return Path(request["folder"], "out.txt"), Path(request["folder"], "err.txt")


def _called(words: list[str]) -> int:
    """Run a command line; its exit code."""
    from edgepress.deploy.cli import main

    code = 70
    try:
        main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _become(request: dict[str, Any]) -> None:
    """In a fork: run one command line in a folder and end."""
    code = 70
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        _enter(request)
        from edgepress.compress.processes import signals

        if request["stop"] is not None:
            signals.handle()
        _limit(request["limits"])
        _jump(request["limits"].get("clock_s", 0))
        if request["modes"]:
            _become_ordinary(request["modes"])
        code = _called(request["words"])
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()  # which remove what the process kept in its temporary folder
        os._exit(code)


def _work(connection: Connection) -> None:
    """In a fork: run command lines as they come, which is much cheaper than a fork for each."""
    from edgepress.compress.processes import scratch

    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with contextlib.suppress(EOFError):
        while True:
            request = connection.recv()
            _enter(request)
            code = _called(request["words"])
            scratch._remove_own()
            connection.send(code)
    os._exit(0)


def _family(pid: int) -> list[int]:
    """A process and its children, as far as they are alive (proc_pid_children(5))."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return found


def _use(pid: int) -> tuple[int, float]:
    """Bytes that a process and its children hold alone, and their seconds of processor time."""
    held, seconds = 0, 0.0
    for member in _family(pid):
        with contextlib.suppress(OSError, IndexError, ValueError):
            resident, shared = Path(f"/proc/{member}/statm").read_text().split()[1:3]
            times = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()[11:15]
            held += max(0, int(resident) - int(shared)) * resource.getpagesize()
            seconds += sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
    return held, seconds


def _end_family(pid: int) -> None:
    for member in _family(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


@dataclass
class _Watch:
    """One command line while it runs, within its limits."""

    pid: int
    request: dict[str, Any]

    def __post_init__(self) -> None:
        self.start, self.peak, self.hung = time.monotonic(), 0, False
        self.before = self.used = _use(self.pid)[1]

    def until(self, handle: int) -> None:
        """Wait for something to be read, or an end; end the process where it is time to."""
        over, stop = select.poll(), self.request["stop"]
        over.register(handle, select.POLLIN)
        while not over.poll(1000 * self._wait(stop)):
            past = time.monotonic() - self.start
            if stop is not None and past >= stop[0]:
                os.kill(self.pid, stop[1])
                stop = None
                continue
            held, self.used = _use(self.pid)
            self.peak = max(self.peak, held)
            # Where others use the machine, too, a whole run takes minutes and is no hang.
            seconds = self.request["seconds"]
            self.hung = self.used - self.before > seconds or past > _WAITS * seconds
            if self.hung or self.peak > self.request["memory_bytes"]:
                _end_family(self.pid)
                return

    def _wait(self, stop: tuple[float, int] | None) -> float:
        """Seconds until the next look, or until the process is to be ended."""
        if stop is None:
            return _LOOK_S
        return min(_LOOK_S, max(0.0, stop[0] - (time.monotonic() - self.start)))

    def told(self, code: int | None, ended: int, used: float) -> dict[str, Any]:
        """The answer."""
        logs = [path.read_bytes()[:_MOST_TEXT] for path in _logs(self.request)]
        return {
            "code": code,
            "signal": ended,
            "hung": self.hung,
            "peak_bytes": self.peak,
            "seconds": time.monotonic() - self.start,
            "used_s": max(self.used, used) - self.before,
            "out": logs[0].decode("utf-8", "replace"),
            "err": logs[1].decode("utf-8", "replace"),
        }


def _alone(request: dict[str, Any]) -> dict[str, Any]:
    """Run a command line in a fork of its own."""
    pid = os.fork()
    if pid == 0:
        _become(request)
    watch, over = _Watch(pid, request), os.pidfd_open(pid)
    watch.until(over)
    os.close(over)
    return {**_ended(watch), "orphans": _orphans()}


def _ended(watch: _Watch) -> dict[str, Any]:
    """The answer of a process that has ended."""
    _, status, used = os.wait4(watch.pid, 0)
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
    ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return watch.told(code, ended, used.ru_utime + used.ru_stime)


class _Team:
    """A fork that runs command lines in a row; replaced after some, and after an odd end."""

    def __init__(self) -> None:
        self.pid, self.turns = 0, 0
        self.pipe: Connection | None = None

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run a command line."""
        if self.pipe is None:
            self.pipe, other = Pipe()
            self.pid, self.turns = os.fork(), 0
            if self.pid == 0:
                self.pipe.close()
                _work(other)
            other.close()
        self.turns += 1
        watch = _Watch(self.pid, request)
        self.pipe.send(request)
        watch.until(self.pipe.fileno())
        try:
            told = {**watch.told(self.pipe.recv(), 0, _use(self.pid)[1]), "orphans": []}
        except (EOFError, OSError):
            told = {**_ended(watch), "orphans": []}
            self.pipe.close()
            self.pipe = None
            return told
        if self.turns >= _MOST_TURNS or told["code"] not in (0, 1, 2):
            self.close()
        return told

    def close(self) -> None:
        """End it, and what it left running."""
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None
            _end_family(self.pid)
            os.waitpid(self.pid, 0)
            _orphans()


def _orphans() -> list[str]:
    """End what a command left running, which has come to this process, and name it."""
    deadline, names = time.monotonic() + _ORPHANS_LIVE_S, []
    while len(family := _family(os.getpid())) > 1:
        if time.monotonic() > deadline:
            names = [Path(f"/proc/{member}/comm").read_text().strip() for member in family[1:]]
            for member in family[1:]:
                os.kill(member, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)
    return names


def _serve(connection: Connection) -> None:
    """Answer requests until there are no more; what a command leaves running comes to us."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    team = _Team()
    with contextlib.suppress(EOFError):
        while True:
            request = connection.recv()
            if request["alone"]:
                team.close()
            connection.send(_alone(request) if request["alone"] else team.run(request))
    team.close()


def listen(address: str) -> None:
    """Serve each connection in a fork, until nobody holds the standard input open."""
    os.dup2(2, 1)
    _load_everything()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address)
        door.listen()
        waiting = select.poll()
        for handle in (0, door.fileno()):
            waiting.register(handle, select.POLLIN)
        while not any(handle == 0 for handle, _ in waiting.poll()):
            with door.accept()[0] as caller:
                if os.fork() == 0:
                    _serve(Connection(caller.detach()))
                    os._exit(0)


if __name__ == "__main__":
    listen(sys.argv[1])
