"""Write docs/findings.md from the heads of the scripts in findings/."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "findings.md"
_INTRODUCTION = """# Findings about other libraries

Surprises in the libraries around edgepress that are no fault of edgepress. Each is shown by a
script in `findings/`, which needs nothing of edgepress; `findings/README.md` says how to run one.
This page is made from their heads by `scripts/findings_page.py`.
"""


def head(script: Path) -> list[str]:
    """The comment at the head of a script, in its parts."""
    lines = script.read_text("utf-8").splitlines()[1:]
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# ").strip())
    text = " ".join(comment)
    return [part.strip() for part in re.split(r"(?=\b(?:Seen in|Why it matters:|Instead:))", text)]


def page() -> str:
    """The page: a section for each finding, a paragraph for each part of its head."""
    parts = [_INTRODUCTION]
    for script in sorted((ROOT / "findings").glob("*.sh")):
        parts.append(f"## {script.stem}\n")
        parts += [f"{part}\n" for part in head(script) if part]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
