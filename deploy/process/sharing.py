"""One worker for all conversions of a process: TensorFlow takes seconds to load in a child."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from edgepress.compress.processes.resting import Rest
from edgepress.deploy.process.worker import Worker

_rest: Rest[Worker] = Rest()


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
