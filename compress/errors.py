"""The one family of errors that people see.

    EdgepressError            exit 2
    ├── InputError            exit 2   bad input or usage; a ValueError, too
    ├── CheckFailed           exit 1   the work is done, a check that was asked for failed
    ├── DeviceError           exit 3   a device or a child process failed
    │   └── FileRefused       exit 2   a runtime on this machine can't take a file
    └── Stopped               exit 130 stopped by the user or a signal, can be resumed

The command line prints one line for each and exits with the class's code.
"""

from __future__ import annotations

import re

# What stands before the @ of an address behind a colon, whatever else a message quotes of it.
_PASSWORD = re.compile(r"((?://|\b)[\w.+%~-]{0,99}:)(?!//)[^\s'\"]{1,199}@(?=[\w\[])")

# The value of an option of an address that no device takes, but that somebody might give.
_SECRET = re.compile(
    r"([?&;][\w.-]{0,30}(?:passw|passphrase|pwd|\bpw|secret|token)[\w.-]{0,30}=)[^\s'\"&;]+", re.I
)


def without_passwords(text: str) -> str:
    """A message as it may be shown and logged: passwords in addresses left out.

    Args:
        text: It may quote what a person wrote: an option, a line of a recipe, a devices file.
    """
    return _SECRET.sub(r"\1…", _PASSWORD.sub(r"\1…@", text))


def without_secrets(address: str) -> str:
    """An address without the values of options that are named as secrets are."""
    return _SECRET.sub(r"\1…", address)


class EdgepressError(Exception):
    """An error with a way out.

    Args:
        message: What is wrong, naming the file, layer or option. One line.
        hint: What to do about it. One line, may be empty.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = without_passwords(" ".join(message.split()))
        self.hint = without_passwords(" ".join(hint.split()))

    def format_message(self) -> str:
        """The message and the way out as one line."""
        return f"{self.message.rstrip('.')}; {self.hint}" if self.hint else self.message

    def __str__(self) -> str:
        return self.format_message()


class InputError(EdgepressError, ValueError):
    """What the user gave can't be used; nothing was written."""


class CheckFailed(EdgepressError):
    """The work is done, but a check that was asked for failed."""

    exit_code = 1


class DeviceError(EdgepressError):
    """A device or a child process failed."""

    exit_code = 3


class FileRefused(DeviceError):
    """A runtime on this machine can't take a file: it is damaged, or not made for this runtime.

    Where several files are tried, it fails one of them as a device would.
    """

    exit_code = 2


class Stopped(EdgepressError):
    """The user stopped the work."""

    exit_code = 130
