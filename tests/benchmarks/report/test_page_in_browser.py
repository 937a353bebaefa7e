"""The page as Chromium shows it: on a desk, on a phone and on paper, light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_records import a_bench, a_run

from edgepress.benchmarks.report.benches import as_run
from edgepress.benchmarks.report.html import render_html

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SIZES = {"desk": (1280, "screen"), "phone": (390, "screen"), "paper": (718, "print")}
# Pairs of labels in one plot that cover each other, by their boxes.
OVERLAPS = """() => {
  const found = [];
  for (const svg of document.querySelectorAll("svg")) {
    const labels = [...svg.querySelectorAll("text")].filter((label) => label.textContent.trim());
    const boxes = labels.map((label) => label.getBoundingClientRect());
    boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b, j) => {
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 1 && high > 2) found.push([labels[i].textContent, labels[i + 1 + j].textContent]);
    }));
  }
  return found;
}"""
CUT = """() => [document.documentElement, ...document.querySelectorAll(".scroll")]
  .filter((part) => part.scrollWidth > part.clientWidth + 1).map((part) => part.className)"""

pytestmark = pytest.mark.slow


def busy_run() -> dict[str, Any]:
    """A run with many files of nearly the same size and score."""
    run = a_run()
    base, row = run["artifacts"][0], run["benchmark"]["rows"][0]
    for i in range(9):
        path = f"/r/artifacts/a_long_name_of_a_network_{i}_int8.tflite"
        run["artifacts"].append({**base, "path": path})
        again = {"artifact": path, "path": path, "label": Path(path).name, "bytes": 2000 + i}
        run["benchmark"]["rows"].append({**row, **again})
    conv = {"name": "block/conv", "type": "Conv2D", "params": 9, "macs": 10, "activation_bytes": 4}
    for stage in run["stages"]:
        stage["layers"] = [conv]
    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("Chromium isn't installed")
    with api.sync_playwright() as play:
        shown = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield shown
        shown.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    runs = [("run", busy_run()), ("benchmark", as_run(a_bench()))]
    path.write_text(render_html(runs), "utf-8")
    return path


def opened(browser: Any, file: Path, size: str, colours: str, **settings: Any) -> Any:
    width, media = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=colours, **settings
    )
    page = context.new_page()
    page.emulate_media(media=media, color_scheme=colours)
    page.goto(file.as_uri())
    return page


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_covered_cut_or_fetched(
    size: str, colours: str, browser: Any, file: Path
) -> None:
    axe = pytest.importorskip("axe_playwright_python")
    page = opened(browser, file, size, colours)
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    page.reload()
    assert fetched == [file.as_uri()]
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate(CUT) == []
    page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text("utf-8"))
    problems = page.evaluate("() => axe.run()")["violations"]
    assert [(p["id"], p["nodes"][0]["html"]) for p in problems] == []


def test_a_click_sorts_a_table_by_its_figures(browser: Any, file: Path) -> None:
    page = opened(browser, file, "desk", "light")
    table = page.locator("table", has=page.locator("th", has_text="agreement")).first
    column = [h.strip() for h in table.locator("thead tr > *").all_inner_texts()].index("bytes")
    table.locator("thead th", has_text="bytes").locator("button").click()
    cells = table.locator(f"tbody tr > *:nth-child({column + 1})").all_inner_texts()
    sizes = [float(cell.split()[0]) for cell in cells]
    assert sizes == sorted(sizes)


def test_the_page_is_read_without_scripts(browser: Any, file: Path) -> None:
    page = opened(browser, file, "desk", "light", java_script_enabled=False)
    assert page.locator("th", has_text="agreement").count() > 0
    assert page.locator("nav a").count() > 5
