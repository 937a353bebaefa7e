"""One worker for all conversions of a process: TensorFlow takes seconds to load in a child."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Iterator

from edgepress.deploy.process.worker import Worker

# A worker at rest holds the memory of a loaded TensorFlow, so it isn't kept for good.
_SECONDS_AT_REST = 60.0


class _Rest:
    """Where a worker waits that has nothing to do, for as long as it may."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """After a fork the worker is that of another process."""
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._timer: threading.Timer | None = None

    def take(self) -> Worker | None:
        """The worker that waits here, if one does."""
        with self._lock:
            found, self._worker = self._worker, None
            if self._timer is not None:
                self._timer.cancel()
            return found

    def put(self, worker: Worker) -> None:
        """Let a worker wait; it ends where another one waits already."""
        with self._lock:
            if self._worker is None:
                self._worker = worker
                self._timer = threading.Timer(_SECONDS_AT_REST, self.clear)
                self._timer.daemon = True
                self._timer.start()
                return
        worker.close()

    def clear(self) -> None:
        """End the worker that waits."""
        found = self.take()
        if found is not None:
            found.close()


_rest = _Rest()
atexit.register(_rest.clear)
os.register_at_fork(after_in_child=_rest.forget)


@contextlib.contextmanager
def working(worker: Worker | None = None, timeout: float = 900.0) -> Iterator[Worker]:
    """The given worker, left running, or one for this block, which later blocks take over.

    Args:
        worker: Of a block around this one.
        timeout: Seconds that one request may take, where no worker is given.
    """
    if worker is not None:
        yield worker
        return
    own = _rest.take() or Worker()
    own.timeout, own.kept_log = timeout, None
    try:
        yield own
    except BaseException:
        own.close()
        raise
    _rest.put(own)
