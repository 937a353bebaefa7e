"""What people see: progress and remarks on standard error, one JSON document on standard output."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from types import TracebackType
from typing import IO, Any

import click

# Control characters, of which a terminal makes colours, titles and moves of the cursor, but for
# tabs and ends of lines, and the ones that turn the direction of what follows.
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """A text as a terminal may be given it: it may hold names out of a stranger's files."""
    return _COMMANDS.sub(lambda found: ascii(found[0])[1:-1], text)


def echo(text: str = "", *, err: bool = False, file: IO[Any] | None = None) -> None:
    """A line of text on standard output, or on standard error, without commands to the terminal.

    Args:
        text: What is printed.
        err: Whether it goes to standard error.
        file: Where it goes instead.
    """
    click.echo(printable(text), err=err, file=file)


class ConsoleProgress:
    """Progress as a moving bar on a terminal, as one line a stage elsewhere.

    Devices tell theirs from threads of their own.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Bars

        self.console = Console(stderr=True)
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._lock = threading.RLock()
        self._task: Any = None
        self._began = time.monotonic()
        self._said = 0.0

    def __enter__(self) -> ConsoleProgress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def stage(self, text: str) -> None:
        """Announce a stage."""
        from rich.text import Text

        text = printable(text)
        with self._lock:
            if self._task is not None:
                self._bars.remove_task(self._task)
            elapsed = time.monotonic() - self._began
            self.console.print(Text.assemble((f"{elapsed:6.1f} s", "dim"), f"  {text}"))
            self._task = self._bars.add_task(text, total=None, text="")

    def step(self, done: int, total: int, text: str = "") -> None:
        """Move the bar; where there is no terminal, say so every ten seconds."""
        from rich.text import Text

        text = printable(text)
        with self._lock:
            if self._task is None:
                self._task = self._bars.add_task("", total=total, text=text)
            self._bars.update(self._task, completed=done, total=total, text=text)
            now = time.monotonic()
            if not self.console.is_terminal and text and now - self._said > 10:
                self._said = now
                self.console.print(Text(f"          {done}/{total}  {text}"))


_OUTPUT = "edgepress.standard_output"


def keep_output_for_json(context: click.Context, _: click.Parameter, value: bool) -> bool:
    """Leave standard output to the JSON document: all else that is printed goes to standard error.

    Code of the user's prints where it likes: while a pipeline is read, in callbacks, in layers,
    at the process's end, and from programs that it starts.
    """
    if value and _OUTPUT not in context.meta:
        own = context.find_root().obj is not None
        context.meta[_OUTPUT] = context.with_resource(_kept_output(own))
    return value


@contextmanager
def _kept_output(for_good: bool) -> Iterator[IO[str]]:
    """Standard output as it was, while it leads to standard error, its descriptor too.

    Args:
        for_good: Whether it stays so, in a process that the command has for its own: buffers of
            C libraries are written, and exit functions run, after the command.
    """
    if sys.stderr is None or not _is_descriptor_1(sys.stdout):
        output = sys.stdout
        with redirect_stdout(sys.stderr):
            yield output
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with (
            open(
                kept, "w", encoding=sys.stdout.encoding, errors="backslashreplace", closefd=False
            ) as output,
            redirect_stdout(sys.stderr),
        ):
            yield output
    finally:
        if not for_good:
            sys.stdout.flush()
            os.dup2(kept, 1)
        os.close(kept)


def _is_descriptor_1(stream: Any) -> bool:
    try:
        return bool(stream.fileno() == 1)
    except (AttributeError, OSError, ValueError):
        return False


def output_for_json() -> IO[str] | None:
    """Standard output, where all else goes to standard error; None where it does not."""
    context = click.get_current_context(silent=True)
    return context.meta.get(_OUTPUT) if context else None


def print_json(document: Any) -> None:
    """The one JSON document on standard output."""
    click.echo(json.dumps(document, indent=2, default=str), file=output_for_json())


def say(text: str) -> None:
    """A remark on standard error."""
    echo(text, err=True)


def percent(value: float | None) -> str:
    """A share as a percentage; only all of it is 100 %."""
    from edgepress.benchmarks.number_format import ABSENT, share_text

    return ABSENT if value is None else share_text(value)


def compared_on(verified: Mapping[str, Any]) -> str:
    """What a file and its source were compared on: how many samples, and whose.

    Args:
        verified: An `Agreement` as JSON.
    """
    from edgepress.benchmarks.number_format import counted

    split = verified.get("split")
    kind = "sample" if split else "random input"
    of = f" of the {split} split" if split else ""
    return f"{counted(verified['samples'], kind)}{of}"
