"""The glossary: every head of a table is a word that it explains."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from run_records import a_run, benchmark_document

from edgepress.benchmarks.glossary import GLOSSARY, term_of, words
from edgepress.benchmarks.records import run_record
from edgepress.benchmarks.report import benches
from edgepress.benchmarks.report.markdown import grids
from edgepress.deploy.cli.main import cli
from edgepress.deploy.cli.tables import layouts

# Heads that say what they are themselves.
PLAIN = {
    "", "file", "stage", "figure", "before", "after", "change", "bytes", "took", "output", "of",
    "value", "why", "reason", "device", "energy", "times", "takes × the time", "operator", "share",
    "accuracy", "memory",
}  # fmt: skip


def explained(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["explain", *arguments])
    return done.exit_code, done.output if done.exit_code == 0 else str(done.exception)


def test_terms_are_found_by_all_their_words_in_any_case() -> None:
    for word in words():
        code, text = explained(*word.upper().split())
        assert code == 0
        assert text.startswith(f"{term_of(word)}: ")


def test_what_terms_refer_to_is_there() -> None:
    assert [s for term in GLOSSARY.values() for s in term.see if s not in GLOSSARY] == []
    assert list(GLOSSARY) == sorted(GLOSSARY)
    assert len(words()) == len({w.lower() for w in words()})


def test_no_word_means_two_things() -> None:
    given = [w.lower() for name, term in GLOSSARY.items() for w in {name, *term.also}]
    assert sorted(given) == sorted(set(given))


def test_the_list_has_every_term() -> None:
    code, text = explained()
    assert code == 0
    assert [line.partition(": ")[0] for line in text.splitlines()] == list(GLOSSARY)
    assert list(json.loads(explained("--json")[1])) == list(GLOSSARY)


def test_an_unknown_word_is_met_with_near_ones() -> None:
    done = CliRunner().invoke(cli, ["explain", "arna"])
    assert done.exit_code == 2
    assert "did you mean 'arena'" in done.output


@pytest.mark.parametrize("name", [n for n in vars(layouts) if n.isupper()])
def test_every_column_of_the_terminal_is_explained(name: str) -> None:
    layout = getattr(layouts, name)
    several = layout if isinstance(layout, tuple) else (layout,)
    columns = [column for one in several for column in one.columns]
    assert [c for c in columns if c not in PLAIN and term_of(c) is None] == []


def test_every_column_of_the_page_is_explained() -> None:
    shown = [*grids(run_record(a_run())), *benches.grids(benchmark_document())]
    heads = {column for _, grid in shown for column in grid.columns}
    assert sorted(h for h in heads if h not in PLAIN and term_of(h) is None) == []
