"""Artifacts for the benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import dense_onnx


@pytest.fixture(scope="session")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense layer as `.onnx`."""
    return dense_onnx(tmp_path_factory.mktemp("onnx") / "dense.onnx")
