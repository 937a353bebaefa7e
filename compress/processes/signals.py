"""How a command is stopped: Ctrl-C, SIGTERM (batch systems, containers, `kill`) and SIGHUP alike.

A process of the command line raises `KeyboardInterrupt` for each of them. Where a parent watches
over it, the signals are for the parent, which passes one on as `PASSED_ON`: what a terminal sends
to the whole group, and a batch system to every process, then comes once.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PASSED_ON = signal.SIGUSR1

# Number of the process that watches over this one and passes signals on.
SUPERVISOR = "EDGEPRESS_SUPERVISOR"

# Those that came, in their order.
_received: list[int] = []


def are_parents() -> bool:
    """Whether signals are for the parent, which watches over this process."""
    return os.environ.get(SUPERVISOR) == str(os.getppid())


def exit_code() -> int:
    """What a process that was stopped ends with: 128 and the number of the first signal."""
    return 128 + (_received[0] if _received else signal.SIGINT)


def handle() -> None:
    """Let SIGTERM and SIGHUP stop this process as Ctrl-C does; one that is ignored stays so."""
    for number in STOPPING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt if number == signal.SIGINT else _stop_once)
    os.register_at_fork(after_in_child=_as_usual)


def handle_as_child() -> None:
    """Leave the signals to the parent, and stop when it passes one on."""
    for number in STOPPING:
        signal.signal(number, _leave)
    signal.signal(PASSED_ON, _interrupt)
    os.register_at_fork(after_in_child=_as_usual)


@contextmanager
def passed_on(child: subprocess.Popen[Any]) -> Iterator[None]:
    """Pass on to a child what would stop this process, while the block waits for the child."""

    def pass_on(number: int, _: FrameType | None) -> None:
        again = number in _received
        _received.append(number)
        if number == signal.SIGINT or not again:
            child.send_signal(PASSED_ON)

    heeded = [n for n in STOPPING if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, pass_on) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def was_stopped() -> bool:
    """Whether a signal asked this process, or the child that it watches over, to stop."""
    return bool(_received)


def _stop_once(number: int, _: FrameType | None) -> None:
    """Stop; a second one, as `timeout` sends, must not stop what the first one began."""
    first = not _received
    _received.append(number)
    if first:
        raise KeyboardInterrupt


def _interrupt(number: int, _: FrameType | None) -> None:
    """Stop, each time that Ctrl-C is pressed."""
    _received.append(signal.SIGINT if number == PASSED_ON else number)
    raise KeyboardInterrupt


def _leave(number: int, _: FrameType | None) -> None:
    """Do nothing: unlike an ignored signal, this doesn't pass on to programs started from here."""


def _as_usual() -> None:
    """Give a fork of this process, such as a data loader's worker, the usual ends."""
    for number in (*STOPPING, PASSED_ON):
        if signal.getsignal(number) in (_stop_once, _leave, _interrupt):
            usual = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if usual else signal.SIG_DFL)
