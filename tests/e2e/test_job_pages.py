"""Each job of the documentation by copying the lines of its page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "jobs").glob("*.md"))


def lines_of(page: Path) -> list[str]:
    """What a page says to type, block by block."""
    return re.findall(r"^```bash\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_lines_of_a_job_do_what_the_page_says(page: Path, tmp_path: Path) -> None:
    blocks = lines_of(page)
    assert len(blocks) > 3
    script = "set -euo pipefail\n" + "".join(blocks)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "EDGEPRESS_DEVICES": str(tmp_path / "devices.yaml"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
