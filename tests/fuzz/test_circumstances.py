"""Whoever runs a command, and whatever the clock says: it works, or one line says what is missing.

`test_fuzz.py` draws more of the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz_case import OUTPUT, Server
from fuzz_sound import TIMED, WRITERS

pytestmark = [pytest.mark.slow]
_SECONDS = 600.0
_INTO = [words for words in WRITERS if any(OUTPUT in word for word in words)]


def _name(words: tuple[str, ...]) -> str:
    return " ".join((words[0], *(w for w in words if w in ("--history", "--junit"))))


@pytest.fixture(scope="module")
def server(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Runs command lines in forks, each in a copy of the base."""
    with Server(tmp_path_factory.mktemp("circumstances"), base) as running:
        yield running


@pytest.mark.parametrize("mode", [0o000, 0o555])
@pytest.mark.parametrize("words", _INTO, ids=_name)
def test_an_ordinary_user_without_permission_is_told_so(
    words: tuple[str, ...], mode: int, server: Server
) -> None:
    folder = server.place()
    closed = folder / "place" / OUTPUT
    closed.mkdir()
    (closed / "keep").write_text("mine")
    told = server.ask(folder, words, modes={OUTPUT: mode}, seconds=_SECONDS)
    closed.chmod(0o755)
    errors = [line for line in told["err"].splitlines() if line.startswith("edgepress: error: ")]
    assert (told["code"], len(errors)) == (2, 1), told["err"]
    assert OUTPUT in errors[0]
    assert [path.name for path in closed.iterdir()] == ["keep"]
    assert list((folder / "tmp").iterdir()) == []


@pytest.mark.parametrize("place", ["../tmp", "../home"])
def test_a_command_without_a_folder_of_its_own_works_or_says_so(place: str, server: Server) -> None:
    for words in WRITERS:
        if words[0] in ("strip", "export", "inspect", "devices"):
            folder = server.place()
            (folder / "place" / OUTPUT).mkdir()
            told = server.ask(folder, words, modes={place: 0o555}, seconds=_SECONDS)
            assert told["code"] in (0, 2), told["err"]
            assert "internal failure" not in told["err"]


@pytest.mark.parametrize("jump_s", [-3600, 10**9])
@pytest.mark.parametrize("words", [w for w in TIMED if w[0] != "search"], ids=_name)
def test_a_clock_that_jumps_changes_no_outcome(
    words: tuple[str, ...], jump_s: int, server: Server
) -> None:
    folder = server.place()
    told = server.ask(folder, words, limits={"clock_s": jump_s}, seconds=_SECONDS)
    assert (told["code"], told["orphans"]) == (0, []), told["err"]
