"""The one family of errors that people see.

    EdgepressError            exit 2
    ├── InputError            exit 2   bad input or usage
    ├── CheckFailed           exit 1   the work is done, a check that was asked for failed
    ├── DeviceError           exit 3   a device or a child process failed
    └── Stopped               exit 130 stopped by the user, can be resumed

Every one is a `click.ClickException`, so commands need no try/except: click prints one line and
exits with the class's code.
"""

from __future__ import annotations

from typing import IO, Any

import click


class EdgepressError(click.ClickException):
    """An error with a way out.

    Args:
        message: What is wrong, naming the file, layer or option. One line.
        hint: What to do about it. One line, may be empty.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(" ".join(message.split()))
        self.hint = " ".join(hint.split())

    def format_message(self) -> str:
        """The message and the way out as one line."""
        return f"{self.message.rstrip('.')}; {self.hint}" if self.hint else self.message

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the one line on standard error."""
        click.echo(f"edgepress: error: {self.format_message()}", file=file, err=file is None)


class InputError(EdgepressError):
    """What the user gave can't be used; nothing was written."""


class CheckFailed(EdgepressError):
    """The work is done, but a check that was asked for failed."""

    exit_code = 1


class DeviceError(EdgepressError):
    """A device or a child process failed."""

    exit_code = 3


class Stopped(EdgepressError):
    """The user stopped the work."""

    exit_code = 130
