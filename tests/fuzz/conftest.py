"""What all tests of bad input begin with."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A folder with the files that every case finds; cases get copies."""
    folder: Path | None = request.config.getoption("--fuzz-base")
    if folder is not None and folder.exists():
        return folder
    made = tmp_path_factory.mktemp("base")
    script = Path(__file__).with_name("make_base.py")
    subprocess.run([sys.executable, str(script), str(made)], check=True, capture_output=True)
    return made if folder is None else shutil.copytree(made, folder)
