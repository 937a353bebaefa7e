"""Real artifacts for the devices."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import dense_onnx


@pytest.fixture(scope="session")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense layer as `.onnx`."""
    return dense_onnx(tmp_path_factory.mktemp("onnx") / "dense.onnx")


@pytest.fixture(scope="session")
def resnet_float(shared_data: Path) -> Path:
    """ResNet-8 as float `.tflite`."""
    return shared_data / "mlperf_tiny/ic/resnet8_float.tflite"


@pytest.fixture(scope="session")
def resnet_int8(shared_data: Path) -> Path:
    """ResNet-8 as int8 `.tflite`, int8 in and out."""
    return shared_data / "mlperf_tiny/ic/resnet8_int8.tflite"
