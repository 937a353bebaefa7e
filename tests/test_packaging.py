"""The wheel, as a user gets it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, since the build leaves its own folders beside the sources.
    copy = folder / "copy"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("package", "compress", "benchmarks", "deploy"):
        shutil.copytree(ROOT / name, copy / name)
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(copy)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_what_modules_read(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        f"edgepress/{path.relative_to(ROOT)}"
        for folder in ("compress", "benchmarks", "deploy")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".html", ".css", ".js", ".c", ".typed")
        and "studies" not in path.parts
    }
    sources |= {f"edgepress/{path.name}" for path in (ROOT / "package").glob("*.*")}
    assert sources <= inside
    assert not any("studies" in name or name.startswith("tests") for name in inside)


@pytest.mark.slow
def test_the_command_works_from_the_wheel_in_a_new_environment(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", str(wheel)], check=True)
    done = subprocess.run(
        [python.with_name("edgepress"), "demo", "-o", str(tmp_path / "run")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").exists()
    done = subprocess.run(
        [python, "-m", "edgepress", "--version"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "edgepress 0.1.0\n")
