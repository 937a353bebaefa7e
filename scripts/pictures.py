"""Make the README's pictures from a finished run.

.venv/bin/python scripts/pictures.py RUN     docs/pictures/terminal.svg
… with Chromium and the extra `browser`      docs/pictures/report.png too
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
_WIDTH = 84
_SHOW = """
import sys
from pathlib import Path
from edgepress.benchmarks.records import read_run
from edgepress.deploy.cli.run_display import show_run
from edgepress.deploy.pipeline.pipeline import RunResult
folder = Path(sys.argv[1])
show_run(RunResult(Path("edgepress-demo"), read_run(folder / "run.json")))
"""


def terminal(run: Path) -> str:
    """What a run prints at its end, without its remarks, as a picture."""
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(_WIDTH), "TERM": "xterm"}
    done = subprocess.run(
        [sys.executable, "-c", _SHOW, str(run)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if not line.startswith(("note:", "  "))]
    console = Console(record=True, width=_WIDTH, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    console.print(Text.from_ansi("\n".join(lines)))
    picture = console.export_svg(title="edgepress demo")
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)  # no font is fetched


def report(page: Path, target: Path, chromium: str = "/usr/bin/chromium") -> None:
    """The top of a report's page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 1100, "height": 760})
        shown.goto(page.absolute().as_uri())
        shown.screenshot(path=target)
        browser.close()


if __name__ == "__main__":
    run = Path(sys.argv[1])
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "terminal.svg").write_text(terminal(run), "utf-8")
    try:
        report(run / "report.html", PICTURES / "report.png")
    except ImportError:
        print("report.png needs the extra browser", file=sys.stderr)
