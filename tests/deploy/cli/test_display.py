"""What people see in tables."""

from __future__ import annotations

import pytest

from edgepress.deploy.cli.display import print_table


def test_titles_and_cells_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    title = "models/[red]one[/red].tflite against a source with a long name, 64 samples"
    print_table(title, ["file", ""], [["[bold]x[/bold]", 1.5]])
    out = capsys.readouterr().out
    assert out.splitlines()[0] == title
    assert "[bold]x[/bold]" in out
