"""Fixtures that every test may use."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("MPLBACKEND", "Agg")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: threads that wait for each other cost a quarter of a training's time.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import pytest
import real_files
from hypothesis import settings

# The same examples in every run: a change that broke nothing can't turn the suite red.
# `pytest --hypothesis-profile=fuzz` draws new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("fuzz", derandomize=False, deadline=None)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    """How many cases the fuzzers of `tests/fuzz` run, and which."""
    parser.addoption("--cases", type=int, default=110, help="cases of bad input, over all kinds")
    parser.addoption("--kills", type=int, default=3, help="ends of each command that writes")
    parser.addoption("--lanes", type=int, default=2, help="cases of bad input that run at once")
    parser.addoption("--fuzz-base", type=Path, help="keeps what all cases find for the next call")
    parser.addoption("--fuzz-seed", type=int, default=0, help="draws the cases of bad input")


def pytest_report_header() -> str:
    """Says what these tests look at."""
    if real_files.MISSING:
        return f"networks: those that the tests make; without real ones, {real_files.MISSING}"
    return f"networks: those that the tests make, and real ones in {real_files.FOLDER}"


# Modules that take long with few tests; last, one of them would keep one worker busy alone.
_LONG = ("e2e/test_line", "searching/test_search", "fitting/test_fit", "quantize/test_qat")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lets long modules begin first, the others in their order."""
    items.sort(key=lambda item: not any(name in item.nodeid for name in _LONG))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real models and data sets, where the checkout has one beside it."""
    if real_files.MISSING:
        pytest.skip(real_files.MISSING)
    return real_files.FOLDER


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a file the first time that any worker of this run asks for it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    def make(name: str, content: Callable[[], bytes]) -> Path:
        path = folder / name
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                path.write_bytes(content())
        return path

    return make


@pytest.fixture(scope="session")
def edge_file(once: Callable[..., Path]) -> Callable[[str], Path]:
    """The TFLite file of a network of `edge_networks`, by name; a real file, by its path."""

    def find(name: str) -> Path:
        if "/" in name:
            return real_files.FOLDER / f"{name}.tflite"
        from edge_networks import FILES

        return once(f"{name}.tflite", FILES[name])

    return find


@pytest.fixture(scope="session")
def edge_model(once: Callable[..., Path]) -> Callable[[str], Path]:
    """The Keras file of a network of `edge_networks`, by name; a real file, by its path."""

    def find(name: str) -> Path:
        if "/" in name:
            return real_files.FOLDER / name
        from edge_networks import keras_file

        return once(name, lambda: keras_file(name.removesuffix(".keras")))

    return find


@pytest.fixture(scope="session")
def digits_model(once: Callable[..., Path]) -> Path:
    """The demo's network as a Keras file, trained once for all workers."""

    def trained() -> bytes:
        from edgepress.deploy.demo import network

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "digits.keras")
            network().save(path)
            return path.read_bytes()

    return once("digits.keras", trained)


@pytest.fixture(scope="session")
def worker() -> Iterator[Any]:
    """One converter child for all tests: TensorFlow takes seconds to load."""
    from edgepress.deploy.process.worker import Worker

    with Worker(timeout=240) as worker:
        yield worker


@pytest.fixture(scope="session")
def resnet_float(edge_file: Callable[[str], Path]) -> Path:
    """A ResNet-8 as float `.tflite`."""
    return edge_file("resnet8_float")


@pytest.fixture(scope="session")
def resnet_int8(edge_file: Callable[[str], Path]) -> Path:
    """A ResNet-8 as int8 `.tflite`, int8 in and out."""
    return edge_file("resnet8_int8")


@pytest.fixture
def old_file(tmp_path: Path) -> Callable[[str], Path]:
    """The file of a network of `old_files`, by name; a real file, by its path."""

    def find(name: str) -> Path:
        if "/" in name:
            return real_files.FOLDER / name
        from old_files import write

        return write(name, tmp_path)

    return find
