"""Every command line that a message, a help text or an example advises can be typed.

Lines are parsed, not run: most of them train. Parsing includes the specifications behind the
options, so a value that no specification takes is found too.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from edgepress.benchmarks.gate.tolerances import Tolerances
from edgepress.compress.specs.recipe import FinetuneSpec, PruneSpec
from edgepress.deploy.cli.examples import EXAMPLES
from edgepress.deploy.cli.help_sections import SectionedCommand, SpecOption
from edgepress.deploy.cli.main import COMMANDS, cli
from edgepress.deploy.cli.options import data_spec, given, spec_from
from edgepress.deploy.fitting.spec import FitSpec
from edgepress.deploy.recipe import AcceptSpec, BenchmarkSpec, ExportSpec

ROOT = Path(__file__).parents[3]
# Options of other programs that messages name.
OTHERS = {"--help", "--version"}
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Modules that call other programs, and the one that makes the names of options.
ELSEWHERE = ("deploy/targets", "deploy/process", "deploy/cli/options.py")
# A value in the place of what a message fills in.
FILLED = "x.keras"
KINDS: dict[str, type[BaseModel]] = {
    kind.__name__: kind
    for kind in (
        FinetuneSpec,
        PruneSpec,
        AcceptSpec,
        FitSpec,
        ExportSpec,
        BenchmarkSpec,
        Tolerances,
    )
}


@cache
def texts() -> tuple[tuple[str, str], ...]:
    """Where each text of the packages stands, and the text; f-strings with `FILLED` for values."""
    found = []
    for path in sorted((ROOT / "deploy").rglob("*.py")) + sorted((ROOT / "compress").rglob("*.py")):
        source = path.read_text("utf-8")
        if "--" in source or "edgepress " in source:
            place = str(path.relative_to(ROOT))
            found += [(f"{place}:{line}", text) for line, text in strings(ast.parse(source))]
    return tuple(found)


def strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The strings of a module but docstrings of functions that aren't commands."""
    inside = {id(part) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for part in n.values}
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module)
        and node.body
        and isinstance(node.body[0], ast.Expr)
        and getattr(node, "name", "") != "command"
    }
    skipped = inside | documents
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [p.value if isinstance(p, ast.Constant) else FILLED for p in node.values]
            yield node.lineno, "".join(map(str, parts))
        elif id(node) not in skipped and isinstance(getattr(node, "value", None), str):
            yield node.lineno, node.value


@cache
def all_options() -> frozenset[str]:
    found = set(OTHERS)
    for name in COMMANDS:
        command = cli.get_command(None, name)  # type: ignore[arg-type]
        for one in (command, *getattr(command, "commands", {}).values()):
            found |= {o for p in one.params for o in (*p.opts, *p.secondary_opts)}  # type: ignore[union-attr]
    return frozenset(found)


def test_every_option_that_a_message_names_is_one() -> None:
    named = [
        (place, option)
        for place, text in texts()
        for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9](?![\w…-])", text)
        if not place.startswith(ELSEWHERE)
    ]
    assert len(named) > 100
    assert sorted({(p, o) for p, o in named if o not in all_options()}) == []


def advised() -> list[tuple[str, str]]:
    """Command lines in messages: from `edgepress` to the end of what can belong to it."""
    found = []
    for place, text in texts():
        for rest in re.findall(r"edgepress ([a-z-]+[^;\n`]*)", text):
            words = rest.split()
            if words[0] in COMMANDS:
                found.append((place, " ".join(belonging(words))))
    return found


def belonging(words: list[str]) -> list[str]:
    """The words of a sentence that are still the command: options with their values, and files."""
    kept = words[:1]
    for before, word in pairwise(words):
        plain = word.strip("'\",.)")
        is_file = bool(re.search(r"[./]", plain)) or plain.isupper()
        if not (plain.startswith("-") or is_file or before.startswith("-")):
            break
        kept.append(plain)
        if word.endswith((",", ")")):
            break
    return kept


def parse(words: list[str]) -> None:
    """Parse a command line, its specifications too.

    Raises:
        Exception: It can't be.
    """
    command = cli.get_command(None, words[0])  # type: ignore[arg-type]
    assert command is not None
    context = command.make_context(words[0], words[1:])
    with context.scope():
        if isinstance(command, click.Group):
            name, inner, rest = command.resolve_command(context, words[1:])
            assert inner is not None
            # Closed at once: it may hold standard output, which --json keeps for the document.
            inner.make_context(name, rest, parent=context).close()
            return
        if data_spec(context.params) is None and isinstance(command, SectionedCommand):
            assert "--data" not in words
        for spec, prefix in {
            (p.spec, str(p.name).removesuffix(p.field))
            for p in command.params
            if isinstance(p, SpecOption) and p.spec in KINDS
        }:
            values = {n.removeprefix(prefix): v for n, v in context.params.items()}
            told = given(values, KINDS[spec])
            if told:
                spec_from(KINDS[spec], told, prefix)


def lines_of(name: str) -> list[str]:
    """The examples of a command, continued lines joined."""
    return "\n".join(EXAMPLES[name]).replace("\\\n", " ").split("\n")


def test_every_command_has_examples_that_fit_a_screen() -> None:
    assert list(EXAMPLES.keys() ^ COMMANDS.keys()) == []
    for lines in EXAMPLES.values():
        assert all(len(line) <= 76 for line in lines)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_can_be_typed(name: str) -> None:
    for line in lines_of(name):
        first, *words = shlex.split(line)
        assert first == "edgepress"
        assert words[0] == name
        parse(words)


def test_commands_that_messages_advise_can_be_typed() -> None:
    found = advised()
    assert len(found) > 5
    for place, line in found:
        words = line.rstrip(".").split()
        if len(words) == 1 or words[1] in ("and", "or"):
            continue  # the name alone
        try:
            parse(words)
        except click.MissingParameter:
            continue  # a message that leaves out what it speaks of
        except click.UsageError as error:
            pytest.fail(f"{place}: edgepress {line}: {error.format_message()}")


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_documents_can_be_typed(page: Path) -> None:
    for block in re.findall(r"^```bash\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("edgepress "):
                try:
                    parse(shlex.split(line, comments=True)[1:])
                except click.UsageError as error:
                    pytest.fail(f"{line}: {error.format_message()}")
