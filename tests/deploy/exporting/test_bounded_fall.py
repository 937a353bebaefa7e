"""What an int8 file may lose at most is kept, or there is no such file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from close_decisions import decided_by_a_hair

from edgepress.compress.errors import DeviceError
from edgepress.deploy.exporting import mixed_precision
from edgepress.deploy.exporting.export import export


def test_a_file_that_no_floats_bring_within_its_bound_is_not_published(
    tmp_path: Path, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(job: Any, out: Path, keep: int) -> None:
        raise DeviceError("no layer can stay in floats")

    monkeypatch.setitem(mixed_precision._WRITERS, "tflite", refused)
    model, data = decided_by_a_hair()
    found = export(model, tmp_path / "out", ("tflite",), ("int8",), data, worker=worker,
                   int8_max_drop=0.0)  # fmt: skip
    assert not found.passed
    (failed,) = found.failed
    assert "more than --int8-max-drop 0 allows" in failed.reason
    assert failed.verified is not None
    assert f"{failed.verified.value:.4f}, the model has 1.0000" in failed.reason
    assert not (tmp_path / "out").exists()
