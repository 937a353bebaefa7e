"""Child processes end with their parent, and their deaths are told in words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgepress.compress.processes.children import Child, Died, Late, run, start

_ECHO = "import sys\nfor line in sys.stdin: print(line.strip(), flush=True)"
# A parent with a busy child, which has a busy child of its own; each writes its number.
_FAMILY = """
import os, sys, time
from edgepress.compress.processes.children import start
generation, folder = int(sys.argv[1]), sys.argv[2]
if generation:
    start([sys.executable, "-c", open(folder + "/code").read(), str(generation - 1), folder])
open(f"{folder}/{generation}.part", "w").write(str(os.getpid()))
os.replace(f"{folder}/{generation}.part", f"{folder}/{generation}")
while True:
    time.sleep(60)
"""


@contextmanager
def child(code: str, *words: str) -> Iterator[Child]:
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        made = Child([sys.executable, "-c", code, *words], log)
        try:
            yield made
        finally:
            made.close()


def until(true: Callable[[], bool]) -> None:
    """Wait for what is bound to come; the limit is only for a test that fails."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
def test_children_and_theirs_end_with_a_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "code").write_text(_FAMILY)
    parent = subprocess.Popen([sys.executable, "-c", _FAMILY, "2", str(tmp_path)])
    files = [tmp_path / str(generation) for generation in range(3)]
    until(lambda: all(file.exists() for file in files))
    pids = [int(file.read_text()) for file in files]
    assert all(map(is_running, pids))
    parent.kill()
    parent.wait()
    until(lambda: not any(map(is_running, pids)))


def test_a_child_outlives_the_thread_that_asked_for_it() -> None:
    made: list[subprocess.Popen[bytes]] = []
    command = [sys.executable, "-c", _ECHO]
    thread = threading.Thread(
        target=lambda: made.append(start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    )
    thread.start()
    thread.join()
    out, _ = made[0].communicate(b"hello\n")
    assert (out, made[0].returncode) == (b"hello\n", 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_to_the_whole_group_are_for_the_parent(number: int) -> None:
    with child(_ECHO) as echo:
        assert echo.ask("first", 60) == "first\n"
        os.kill(echo.pid, number)
        assert echo.ask("second", 60) == "second\n"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"crashed \(SIGSEGV\)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", r"was killed \(out of memory"),
        ("raise SystemExit(7)", "ended with code 7"),
        ("raise MemoryError('bad_alloc')", "ran out of memory and ended with code 1: MemoryError"),
    ],
)
def test_a_death_is_told_in_words(code: str, told: str) -> None:
    with child(code) as dead, pytest.raises(Died, match=f"^{told}"):
        dead.ask("anything", 60)


def test_a_silent_child_is_ended() -> None:
    with child("import time; time.sleep(600)") as silent:
        with pytest.raises(Late, match=r"within 0\.2 s"):
            silent.ask("anything", 0.2)
        assert not silent.running
    with pytest.raises(Late, match=r"within 0\.2 s"):
        run([sys.executable, "-c", "import time; time.sleep(600)"], timeout=0.2)


def test_a_program_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        run(["no-such-program"])


def test_each_child_walks_sets_in_the_same_order() -> None:
    code = "print(hash('a'), {'a', 'b', 'c', 'd', 'e', 'f'})"
    assert len({run([sys.executable, "-c", code]).stdout for _ in range(3)}) == 1
