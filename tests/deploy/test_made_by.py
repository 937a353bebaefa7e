"""When, how and from what a result was made."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgepress.deploy.versions import made_by


def test_a_call_of_the_library_has_a_date_and_no_command_line() -> None:
    found = made_by()
    made = datetime.fromisoformat(str(found["date"]))
    assert abs((datetime.now(UTC) - made).total_seconds()) < 60
    assert found["command"] is None


@pytest.mark.parametrize("repository", [True, False])
def test_the_commit_is_that_of_the_working_directory(
    repository: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    expected = None
    if repository:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "init", "-q"], check=True)
        subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
        head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True)
        expected = head.stdout.decode().strip()
    assert made_by()["commit"] == expected


def test_the_command_line_is_the_one_that_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/edgepress", "compress", "my model.keras"])
    assert made_by()["command"] == "edgepress compress 'my model.keras'"
