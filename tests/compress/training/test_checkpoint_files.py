"""The state of a training on disk is what was written, or it is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from edgepress.compress.errors import InputError
from edgepress.compress.training.loop.checkpoints import Snapshot, read_snapshot, write_snapshot

ARRAYS: dict[str, Any] = {
    "model/0": np.arange(6, dtype=np.float32).reshape(2, 3),
    "count": np.asarray(3),
    "half": np.ones(4, ml_dtypes.bfloat16),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "training.npz"
    write_snapshot(path, "mine", Snapshot(ARRAYS, {"stop": False, "columns": {"loss": [1.5]}}))
    return path


def test_what_was_written_is_read(file: Path) -> None:
    found = read_snapshot(file, "mine")
    assert found is not None
    assert found.facts == {"stop": False, "columns": {"loss": [1.5]}}
    assert {n: a.tobytes() for n, a in found.arrays.items()} == {
        n: a.tobytes() for n, a in ARRAYS.items()
    }
    assert read_snapshot(file, "another") is None


CHANGES: dict[str, Any] = {
    "another number": lambda a: a["model/0"].__setitem__((0, 0), 7),
    "another shape": lambda a: a.update({"model/0": a["model/0"].ravel()}),
    "an array less": lambda a: a.pop("count"),
    "one more": lambda a: a.update(more=np.zeros(1)),
    "another name": lambda a: a.update(counts=a.pop("count")),
    "other facts": lambda a: a.update(facts=np.frombuffer(b'{"key": "mine"}', np.uint8)),
    "no facts": lambda a: a.pop("facts"),
    "no hash": lambda a: a.pop("digest"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_hand_changed_is_refused(change: str, file: Path) -> None:
    with np.load(file) as archive:
        arrays = dict(archive)
    CHANGES[change](arrays)
    np.savez(file, **arrays)
    with pytest.raises(InputError, match="isn't the state of a training as it was written"):
        read_snapshot(file, "mine")
