"""Temporary folders go with their process, or with the next one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_CODE = """
import sys
from edgepress.compress.processes.scratch import own_folder
print(own_folder(), flush=True)
(own_folder() / "left").write_text("something")
sys.stdin.read()
"""


def begin(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process with a folder for temporary files, and that folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", _CODE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(place)},
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_process_left_is_swept_by_the_next(tmp_path: Path) -> None:
    killed, its = begin(tmp_path)
    living, kept = begin(tmp_path)
    killed.kill()
    killed.communicate()
    assert {its, kept} <= set(tmp_path.iterdir())
    (tmp_path / "edgepress-notes").mkdir()
    (tmp_path / "edgepress-1-1-link").symlink_to(tmp_path / "edgepress-notes")
    last, lasts = begin(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        kept.name, lasts.name, "edgepress-notes", "edgepress-1-1-link",
    }  # fmt: skip
    living.communicate("")
    last.communicate("")
    assert {path.name for path in tmp_path.iterdir()} == {"edgepress-notes", "edgepress-1-1-link"}


def test_a_number_that_was_used_again_is_no_life(tmp_path: Path) -> None:
    former = tmp_path / f"edgepress-{os.getpid()}-12345-abcdefgh"
    former.mkdir()
    process, _ = begin(tmp_path)
    assert not former.exists()
    process.communicate("")
