"""What can be imported, run and named without knowing the folders behind."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from edgepress.deploy.cli.main import cli

ERRORS = ("CheckFailed", "DeviceError", "EdgepressError", "InputError", "Stopped")
SPECS = ("DataSpec", "FinetuneSpec", "PruneSpec", "TrainSpec")
NAMES = {
    "compress": (*ERRORS, *SPECS, "Dataset", "Task", "FinetuneResult", "History", "PruneResult"),
    "deploy": (
        *ERRORS, *SPECS, "Agreement", "Artifact", "BenchmarkResult", "BenchmarkSpec", "Dataset",
        "ExportResult", "ExportSpec", "PruneResult", "Recipe", "RunResult", "Task",
    ),
    "benchmarks": (*ERRORS, "Artifact", "BenchmarkResult", "measure"),
}  # fmt: skip


def python(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=cwd, check=False
    )


@pytest.mark.parametrize("door", NAMES)
def test_a_door_has_the_errors_specifications_and_results(door: str) -> None:
    package = importlib.import_module(f"edgepress.{door}")
    assert set(NAMES[door]) <= set(dir(package)) == set(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is getattr(package, name)
        assert getattr(package, name).__name__ == name


def test_the_same_name_is_the_same_thing_behind_each_door() -> None:
    from edgepress import benchmarks, compress, deploy

    for name in ERRORS:
        assert getattr(compress, name) is getattr(deploy, name) is getattr(benchmarks, name)
    with pytest.raises(AttributeError, match=r"'edgepress\.compress' has no attribute 'prume'"):
        _ = compress.prume


def test_doors_load_nothing_until_a_name_is_used(tmp_path: Path) -> None:
    script = (
        "import sys, edgepress\n"
        "doors = edgepress.compress, edgepress.deploy, edgepress.benchmarks\n"
        "names = [dir(door) for door in doors], edgepress.compress.InputError\n"
        "sys.exit(' '.join({'keras', 'numpy', 'onnx', 'pydantic', 'rich'} & sys.modules.keys()))\n"
    )
    done = python("-c", script, cwd=tmp_path)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize("folder", [Path(__file__).parents[3], None])
def test_python_m_edgepress_is_the_command(folder: Path | None, tmp_path: Path) -> None:
    version = importlib.metadata.version("edgepress")
    done = python("-m", "edgepress", "--version", cwd=folder or tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"edgepress {version}\n", "")
    done = python("-c", "import edgepress; print(edgepress.__version__)", cwd=folder or tmp_path)
    assert done.stdout == f"{version}\n"


def test_without_arguments_the_help_is_printed(tmp_path: Path) -> None:
    done = python("-m", "edgepress", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == python("-m", "edgepress", "--help", cwd=tmp_path).stdout
    assert all(f"\n  {name} " in done.stdout for name in cli.list_commands(None))  # type: ignore[arg-type]
