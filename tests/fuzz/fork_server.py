"""A process that has loaded everything once and forks for each command line it is sent.

It runs no operation itself: TensorFlow makes its threads at the first one, and threads don't live
on in a fork. Reads one JSON line for each case (`folder`, `words`, `limits`, `seconds`,
`memory_bytes`, and where it is to be ended `stop`: after how many seconds and by which signal) and
answers with one (`code`, `signal`, `hung`, `peak_bytes`, `seconds`, `out`, `err`).
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import psutil

_POLL_S = 0.02
_POLLS_PER_LOOK = 10  # at memory and time: that goes through all processes
_WAITS = 10
_LOOKS = 8
# <linux/prctl.h>, <linux/securebits.h>, <linux/capability.h>
_PR_SET_SECUREBITS, _NO_ROOT, _CAPABILITIES_3 = 28, 3, 0x20080522
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


def _become(request: dict[str, Any], logs: tuple[Path, Path]) -> None:
    """In the child: run one command line in a folder and end."""
    os.setsid()
    code, folder = 70, Path(request["folder"])
    try:
        for number, log in enumerate(logs, start=1):
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(folder / "place")
        os.environ.update(
            HOME=str(folder / "home"),
            TMPDIR=str(folder / "tmp"),
            EDGEPRESS_DEVICES=str(folder / "place" / "devices.yaml"),
        )
        import tempfile

        tempfile.tempdir = None
        from edgepress.compress.processes import signals
        from edgepress.deploy.cli import main

        if request["stop"] is not None:
            signals.heed()
        _limit(request["limits"])
        _jump(request["limits"].get("clock_s", 0))
        if request["modes"]:
            _become_ordinary(request["modes"])
        main(request["words"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _family(pid: int) -> list[psutil.Process]:
    """A process and its children, as far as they are alive."""
    try:
        head = psutil.Process(pid)
        return [head, *head.children(recursive=True)]
    except psutil.Error:
        return []


def _use(pid: int) -> tuple[int, float]:
    """Bytes that a process and its children hold alone, and their seconds of processor time."""
    held, seconds = 0, 0.0
    for process in _family(pid):
        try:
            memory = process.memory_info()
            held += max(0, memory.rss - memory.shared)
            seconds += sum(process.cpu_times()[:4])
        except psutil.Error:
            continue
    return held, seconds


def _end_family(pid: int) -> None:
    for process in _family(pid):
        with contextlib.suppress(psutil.Error):
            process.kill()


def _watch(
    pid: int, seconds: float, memory_bytes: int, stop: tuple[float, int] | None
) -> dict[str, Any]:
    """Wait for a child within its limits, and end it where that was asked for."""
    start, peak, hung = time.monotonic(), 0, False
    for turn in itertools.count():
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if turn % _POLLS_PER_LOOK == 0:
            held, used = _use(pid)
            peak = max(peak, held)
            # Where others use the machine, too, a whole run takes minutes and is no hang.
            hung = used > seconds or time.monotonic() - start > _WAITS * seconds
        if stop is not None and time.monotonic() - start > stop[0]:
            os.kill(pid, stop[1])
            stop = None
        if hung or peak > memory_bytes:
            _end_family(pid)
            _, status = os.waitpid(pid, 0)
            break
        time.sleep(_POLL_S)
    ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
    taken = time.monotonic() - start
    return {"code": code, "signal": ended, "hung": hung, "peak_bytes": peak, "seconds": taken}


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request["folder"])
    logs = (folder / "out.txt", folder / "err.txt")
    pid = os.fork()
    if pid == 0:
        _become(request, logs)
    told = _watch(pid, request["seconds"], request["memory_bytes"], request["stop"])
    texts = [log.read_bytes()[:_MOST_TEXT].decode("utf-8", "replace") for log in logs]
    return {**told, "out": texts[0], "err": texts[1]}


def serve() -> None:
    """Answer requests until there are no more."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _load_everything()
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), file=replies, flush=True)


if __name__ == "__main__":
    serve()
