"""Child processes: how each is started, asked, waited for, ended, and how its death is told.

A child ends with its parent, however that ends. A helper (a native runtime, a converter, `adb`)
isn't reached by Ctrl-C, SIGTERM or SIGHUP, which a terminal or a batch system sends to a whole
group: they are for the parent, which ends its helpers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

from edgepress.compress.errors import DeviceError
from edgepress.compress.processes import launcher
from edgepress.compress.processes.scratch import own_folder

# How libraries say that an allocation failed.
NO_MEMORY = re.compile(
    "MemoryError|bad_alloc|[Mm]emory allocation|annot allocate memory|failed to map segment"
)

# What native code dies of by its own fault.
NATIVE_DEATHS = frozenset(
    (signal.SIGSEGV, signal.SIGILL, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS)
)

# A parent's death signal comes when the thread that started the child ends (prctl(2)), so all
# children are started by one thread, which lives as long as the process.
_starters = [ThreadPoolExecutor(1, "edgepress-starter")]

Kind = Literal["helper", "own"]


class Died(DeviceError):
    """A child ended without an answer; the message says why, to be put behind what it was.

    Attributes:
        native: Whether it died of its own fault: native code crashed in it.
    """

    def __init__(self, message: str, native: bool = False) -> None:
        super().__init__(message)
        self.native = native


class Late(DeviceError):
    """A child gave no answer in time and was ended."""


def start(
    command: Sequence[str | Path],
    *,
    kind: Kind = "helper",
    environment: Mapping[str, str] | None = None,
    **pipes: Any,
) -> subprocess.Popen[Any]:
    """Start a program that ends with this process.

    Args:
        command: The program and what it is given.
        kind: "helper" for one that signals to the group don't reach, "own" for one that heeds them.
        environment: Variables beside those of this process. Sets are walked in the same order in
            each child, and what libraries leave in the temporary folder goes with ours.
        pipes: As `subprocess.Popen` takes them.

    Raises:
        FileNotFoundError: There is no such program.
    """
    words = [os.fspath(word) for word in command]
    if shutil.which(words[0]) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), words[0])
    launch = [sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), kind]
    fixed = {"TMPDIR": str(own_folder()), "PYTHONHASHSEED": "0"}
    variables = {**os.environ, **fixed, **(environment or {})}
    opened = partial(subprocess.Popen[Any], [*launch, *words], env=variables, **pipes)
    begun = _starters[-1].submit(opened)
    try:
        return begun.result()
    except BaseException:  # stopped in between: nobody would know of the child
        begun.add_done_callback(_end_unknown)
        raise


def _after_fork() -> None:
    _starters.append(ThreadPoolExecutor(1, "edgepress-starter"))


os.register_at_fork(after_in_child=_after_fork)  # a fork has no thread but its own


def _end_unknown(begun: Future[subprocess.Popen[Any]]) -> None:
    if begun.exception() is None:
        begun.result().kill()


def run(
    command: Sequence[str | Path],
    *,
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
    errors: str = "strict",
) -> subprocess.CompletedProcess[str]:
    """Run a helper to its end, with nothing to read.

    Args:
        command: The program and what it is given.
        timeout: Seconds that it may take; it is ended then.
        environment: As `start`.
        errors: What becomes of bytes that aren't UTF-8.

    Raises:
        FileNotFoundError: There is no such program.
        Late: It took longer.
    """
    child = start(
        command,
        environment=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors=errors,
    )
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Late(f"did not answer within {timeout:g} s") from None
    finally:
        end(child)
    return subprocess.CompletedProcess(list(command), child.returncode, out, err)


def end(child: subprocess.Popen[Any]) -> None:
    """End a child and free what it held here; one that is over stays so."""
    child.kill()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    child.wait()


def died(code: int, chatter: str) -> str:
    """Why a process ended, in words, with the last line that it wrote on standard error."""
    if code == -signal.SIGKILL:
        why = "was killed (out of memory?)"
    elif code < 0:
        why = f"crashed ({signal.Signals(-code).name})"
    else:
        why = f"ended with code {code}"
    if NO_MEMORY.search(chatter):
        why = f"ran out of memory and {why}"
    lines = [line for line in chatter.splitlines() if line.strip()]
    return f"{why}: {lines[-1].strip()[:300]}" if lines else why


class Child:
    """A helper that answers each line on its standard input with one on its standard output.

    Args:
        command: The program and what it is given.
        log: Open for reading and writing; takes what it says on standard error.
        environment: As `start`.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: IO[str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        self._process: subprocess.Popen[str] = start(
            command,
            environment=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def ask(self, line: str, timeout: float) -> str:
        """Send one line and give the line that answers it.

        Raises:
            Died: It ended instead.
            Late: It stayed silent for `timeout` seconds and was ended.
        """
        process, late = self._process, threading.Event()
        assert process.stdin
        assert process.stdout

        def stop() -> None:
            late.set()
            process.kill()

        begin = self._log.seek(0, os.SEEK_END)
        timer = threading.Timer(timeout, stop)
        timer.start()
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            reply = process.stdout.readline()
        except BrokenPipeError:
            reply = ""
        finally:
            timer.cancel()
        if reply:
            return reply
        code = process.wait()
        if late.is_set():
            raise Late(f"did not answer within {timeout:g} s and was stopped")
        self._log.seek(begin)
        raise Died(died(code, self._log.read()), -code in NATIVE_DEATHS)

    def close(self) -> None:
        """End it: it holds nothing that would have to be saved."""
        end(self._process)
