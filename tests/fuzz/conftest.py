"""What all tests of bad input begin with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that every case finds; cases get copies."""
    folder = tmp_path_factory.mktemp("base")
    script = Path(__file__).with_name("make_base.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    return folder
