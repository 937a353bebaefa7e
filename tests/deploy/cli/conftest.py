"""The command line, called as from a shell."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from command_forks import Forks


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """A process that has loaded the command line alone, and forks for each call."""
    with Forks() as forks:
        yield forks
