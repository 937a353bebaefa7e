"""Documents: links lead somewhere, and what is made from other files is up to date."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def loaded(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text("utf-8")):
        if re.match(r"https?://|mailto:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file) if file else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


def test_the_page_of_findings_is_that_of_their_heads() -> None:
    made = loaded("scripts/findings_page.py")
    assert (ROOT / "docs/findings.md").read_text("utf-8") == made.page()
    for script in (ROOT / "findings").glob("*.sh"):
        assert len(made.head(script)) > 2, script.name


def test_the_readme_of_a_package_index_needs_no_repository() -> None:
    text = loaded("setup.py").for_an_index((ROOT / "README.md").read_text("utf-8"))
    assert [link for link in LINK.findall(text) if not link.startswith("https://")] == []
    assert "`docs/devices.md`" in text


def test_every_page_stands_in_the_navigation() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    listed = set(re.findall(r"'([\w/]+\.md)'", str(nav)))
    pages = {str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md")}
    assert listed == pages


def test_the_image_gets_every_file_that_it_copies() -> None:
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    copied = [w for line in lines if line.startswith("COPY ") for w in line.split()[1:-1]]
    kept = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert copied
    assert [name for name in copied if f"!{name}" not in kept or not (ROOT / name).exists()] == []
