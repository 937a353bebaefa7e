"""A child process that waits for its next task: what it loads takes longer than most tasks."""

from __future__ import annotations

import atexit
import os
import threading
from typing import Generic, Protocol, TypeVar

# One at rest holds the memory of what it loaded, so it isn't kept for good.
_SECONDS_AT_REST = 60.0


class Closable(Protocol):
    """What holds a child process."""

    def close(self) -> None:
        """End the child."""


T = TypeVar("T", bound=Closable)


class Rest(Generic[T]):
    """Where one waits that has nothing to do, for as long as it may."""

    def __init__(self) -> None:
        self._forget()
        atexit.register(self.clear)
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """After a fork the child is that of another process."""
        self._lock = threading.Lock()
        self._waiting: T | None = None
        self._timer: threading.Timer | None = None

    def take(self) -> T | None:
        """The one that waits here, if one does."""
        with self._lock:
            found, self._waiting = self._waiting, None
            if self._timer is not None:
                self._timer.cancel()
            return found

    def put(self, one: T) -> None:
        """Let one wait; it ends where another one waits already."""
        with self._lock:
            if self._waiting is None:
                self._waiting = one
                self._timer = threading.Timer(_SECONDS_AT_REST, self.clear)
                self._timer.daemon = True
                self._timer.start()
                return
        one.close()

    def clear(self) -> None:
        """End the one that waits."""
        found = self.take()
        if found is not None:
            found.close()
