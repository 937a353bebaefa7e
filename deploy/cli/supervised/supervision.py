"""Training in a child process, so that a crash of native code is one line and costs no epoch.

TensorFlow's oneDNN kernels have ended the process in the gradient of a convolution of an unusual
width. A training that dies so is begun once more without them, from its last finished epoch.

The parent imports no framework. The child has the parent's terminal, so what it says and its
progress are seen as they are; Ctrl-C, SIGTERM and SIGHUP are passed on to it.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from edgepress.compress.errors import DeviceError
from edgepress.compress.kernel import onednn
from edgepress.compress.kernel.files import write_text
from edgepress.compress.processes import signals
from edgepress.compress.processes.children import NATIVE_DEATHS, died, end, start
from edgepress.deploy.cli.display import echo, output_for_json
from edgepress.deploy.cli.quiet import announce_frameworks


@dataclass(frozen=True)
class Work:
    """A command's work, as its supervisor knows it.

    Attributes:
        state: Folder that outlives the process and belongs to this work; None where there is none.
        go_on: The words of the command line that go on from what is kept there; None while nothing
            is.
        again: Whether the work may be begun once more by itself.
    """

    state: Path | None = None
    go_on: Callable[[], Sequence[str] | None] = lambda: None
    again: bool = True


def supervise(work: Work | None = None) -> None:
    """Let a child process carry out the command; return only where this process is to do it.

    It is where this process is that child, and where the command isn't the process's own (a test,
    a program that calls `main` with arguments).

    Args:
        work: What is known of the command's work.

    Raises:
        InputError: The command's MODEL isn't there.
        Exit: The child has ended and said everything itself.
        DeviceError: It died of its own fault, without oneDNN's kernels too, or was killed.
    """
    words = click.get_current_context().find_root().obj
    if words is None or signals.are_parents():
        return
    announce_frameworks()
    work = work or Work()
    known = _crash_of(work.state)
    code = _run(words, known)
    number = -code
    if number in NATIVE_DEATHS and work.again and not known and not onednn.is_off():
        known = signal.Signals(number).name
        _remember_crash(work.state, known)
        rest = work.go_on()
        since = "from its beginning" if rest is None else "from what is finished"
        echo(
            f"note: the training crashed ({known}); it goes on {since} without oneDNN's kernels"
            f" ({onednn.VARIABLE}=0)",
            err=True,
        )
        code = _run(rest or words, known)
        if code != 0:
            _remember_crash(work.state, known)
    if code >= 0:
        raise click.exceptions.Exit(code)
    raise _death(code, bool(known) or onednn.is_off(), work)


def _run(words: Sequence[str], crash: str) -> int:
    """The exit code of a child that carries out a command line; negative where a signal ended it.

    Args:
        words: The command line.
        crash: Signal that ended the training with oneDNN's kernels; none where empty.
    """
    # As `python -m` adds the working folder to the path, so does it in the child.
    safe = [] if sys.path[0] in ("", str(Path.cwd())) else ["-P"]
    child = start(
        [sys.executable, *safe, "-m", "edgepress.deploy.cli", *words],
        environment={signals.SUPERVISOR: str(os.getpid()), **onednn.variables_after(crash)},
        stdout=output_for_json(),
    )
    try:
        with signals.passed_on(child):
            code = child.wait()
    finally:
        end(child)
    if signals.was_stopped() and code < 0:
        raise KeyboardInterrupt
    return code


def _death(code: int, without: bool, work: Work) -> DeviceError:
    rest = work.go_on()
    hint = ""
    if rest is not None:
        hint = f"what is finished is kept; go on with: edgepress {shlex.join(rest)}"
    how = ", without oneDNN's kernels too" if without and -code in NATIVE_DEATHS else ""
    return DeviceError(f"the training {died(code, '')}{how}", hint)


def _remember_crash(state: Path | None, crash: str) -> None:
    """Note in the folder of a work's state that it goes on without oneDNN's kernels.

    Args:
        state: The folder; where there is none yet, nothing is kept that could go on.
        crash: Name of the signal.
    """
    if state is not None and state.is_dir():
        write_text(state / onednn.CRASH_FILE, crash)


def _crash_of(state: Path | None) -> str:
    """The signal that was noted there; empty where none was, or the note was damaged."""
    path = None if state is None else state / onednn.CRASH_FILE
    if path is None or not path.is_file():
        return ""
    noted = path.read_text("utf-8", "replace")
    return noted if noted in signal.Signals.__members__ else ""
