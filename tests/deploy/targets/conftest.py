"""Artifacts for the devices."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import adbd
import pytest
from adbd import Adbd, adb_server
from sshd import Server, free_ports, settles, sshd
from tiny_models import dense_onnx


@pytest.fixture(scope="session")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense layer as `.onnx`."""
    return dense_onnx(tmp_path_factory.mktemp("onnx") / "dense.onnx")


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    """What stands in for benchmark_model: a program that runs on this machine."""
    source = Path(adbd.__file__).with_name("benchmark_model.py").read_text()
    program = tmp_path / "benchmark_model"
    program.write_text(f"#!{sys.executable}\n{source}")
    return program


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[Adbd]:
    """A device for the real adb."""
    root = tmp_path / "phone"
    root.mkdir()
    with adb_server(tmp_path, free_ports(1)[0]):
        device = Adbd(root)
        yield device
        device.unplug()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A board behind SSH on which nothing may be left."""
    with sshd(tmp_path) as running:
        yield running
        assert settles(lambda: list(running.temporary.iterdir()) == []), "left on the board"
