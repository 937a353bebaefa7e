"""The worker that conversions of one process take over from each other."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from edgepress.deploy.process import sharing
from edgepress.deploy.process.sharing import working
from edgepress.deploy.process.worker import Refused, Worker


@pytest.fixture(autouse=True)
def none_at_rest() -> Iterator[None]:
    """Each test begins and ends without a worker of another."""
    sharing._rest.clear()
    yield
    sharing._rest.clear()


def child_of(worker: Worker) -> int:
    """The process that answers, which was asked for something that isn't there."""
    with pytest.raises(Refused):
        worker.ask("onnx-inspect", {"source": "/nonexistent.onnx"})
    assert worker._child is not None
    return worker._child.pid


def ended(pid: int) -> bool:
    for _ in range(200):
        if not psutil.pid_exists(pid):
            return True
        time.sleep(0.05)
    return False


def test_a_later_block_takes_over_the_process_with_limits_of_its_own() -> None:
    with working(timeout=100) as one:
        first = child_of(one)
    with working(timeout=50) as other:
        assert child_of(other) == first
        assert other.timeout == 50
        assert other.kept_log is None


def test_blocks_within_each_other_have_one_each_and_only_one_is_kept() -> None:
    with working() as one:
        first = child_of(one)
        with working() as other:
            second = child_of(other)
    assert first != second
    assert ended(first)
    with working() as later:
        assert child_of(later) == second


def test_a_block_that_failed_leaves_none() -> None:
    pids = []

    def failing() -> None:
        with working() as worker:
            pids.append(child_of(worker))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert ended(pids[0])


def test_a_worker_at_rest_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_SECONDS_AT_REST", 0.05)
    with working() as worker:
        pid = child_of(worker)
        log = Path(worker._log.name)
    assert ended(pid)
    for _ in range(100):
        if not log.exists():
            break
        time.sleep(0.05)
    assert not log.exists()


def test_a_fork_does_not_take_the_worker_of_its_parent() -> None:
    with working() as worker:
        child_of(worker)
    forked = os.fork()
    if forked == 0:
        os._exit(0 if sharing._rest.take() is None else 1)
    assert os.waitpid(forked, 0)[1] == 0
    assert sharing._rest.take() is worker
    worker.close()
