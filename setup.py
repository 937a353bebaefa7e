"""The part of the packaging that pyproject.toml can't say: the README as a package index shows it.

Links to files of the repository lead nowhere there, so the names of the files stand in their place;
pictures of the repository are left out.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup

_PICTURE = re.compile(r"^!\[[^\]]*\]\((?!https?://)[^)]+\)\n\n?", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)")


def for_an_index(text: str) -> str:
    """A README without links and pictures that need the repository around it."""
    return _LINK.sub(_named, _PICTURE.sub("", text))


def _named(link: re.Match[str]) -> str:
    shown, file = link.groups()
    return f"`{file}`" if shown == file else f"{shown} (`{file}`)"


if __name__ == "__main__":
    readme = (Path(__file__).parent / "README.md").read_text("utf-8")
    setup(long_description=for_an_index(readme), long_description_content_type="text/markdown")
