"""Names out of files may hold commands to a terminal; what is printed holds none."""

from __future__ import annotations

import io
import re
from pathlib import Path

import keras
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edgepress.deploy.cli import display
from edgepress.deploy.cli.display import ConsoleProgress, printable
from edgepress.deploy.cli.main import cli

COLOUR = "\x1b[31mred\x1b[0m"
TITLE = "\x1b]0;title\x07"
TURNED = "\u202etfel\u2066"
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.mark.parametrize("name", [COLOUR, TITLE, TURNED, "\x9b2J", "a\rb"])
@pytest.mark.parametrize("command", ["inspect", "doctor"])
def test_a_layer(name: str, command: str, tmp_path: Path) -> None:
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name=f"d{name}")])
    network.save(tmp_path / "m.keras")
    done = CliRunner().invoke(cli, [command, str(tmp_path / "m.keras")], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert not COMMANDS.search(done.output)
    assert f"d{printable(name)}" in done.output


@pytest.mark.parametrize("words", [["inspect"], ["export", "-o", "out"], ["no-such-command"]])
def test_a_refusal(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, [*words, f"{COLOUR}{TURNED}.keras"])
    assert done.exit_code == 2
    assert not COMMANDS.search(done.output)


@given(st.text())
def test_a_text(text: str) -> None:
    shown = printable(text)
    assert not COMMANDS.search(shown)
    assert COMMANDS.search(text) or shown == text


@pytest.mark.parametrize("terminal", [True, False])
def test_progress(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # What rich takes for the end of a style that nobody began was an error.
    text = f"reading a[/b]{TITLE}"
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    monkeypatch.setattr("rich.console.Console", lambda **_: console)
    with ConsoleProgress() as progress:
        progress.stage(text)
        progress.step(1, 2, text)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "a[/b]" in shown
    assert "\x1b]" not in shown


def test_one_way_out() -> None:
    # Help, the version and that TensorFlow loads are the product's own text.
    root = Path(display.__file__).parent
    direct = {
        path.name
        for path in root.rglob("*.py")
        if re.search(r"click\.(echo|secho)\(", path.read_text(encoding="utf-8"))
    }
    assert direct == {"display.py", "help_sections.py", "main.py", "quiet.py"}
