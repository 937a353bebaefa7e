"""How long work tells the outside world where it stands."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of one command; the command line draws it, the library ignores it."""

    def stage(self, text: str) -> None:
        """A new stage begins; `text` says which."""

    def step(self, done: int, total: int, text: str = "") -> None:
        """`done` of `total` units of the current stage are finished."""


class Silent:
    """Progress that nobody watches."""

    def stage(self, text: str) -> None:
        """Ignore the stage."""

    def step(self, done: int, total: int, text: str = "") -> None:
        """Ignore the step."""
