"""`edgepress explain`."""

from __future__ import annotations

import click

from edgepress.benchmarks.glossary import GLOSSARY, term_of, words
from edgepress.compress.errors import InputError
from edgepress.deploy.cli import display
from edgepress.deploy.cli.display import echo
from edgepress.deploy.cli.help_sections import SectionedCommand
from edgepress.deploy.cli.options import Values, common_options, keyword_values
from edgepress.deploy.cli.valid_names import NamedValue


@click.command(cls=SectionedCommand)
@click.argument(
    "term", required=False, nargs=-1, metavar="[TERM]", type=NamedValue(lambda: {"": words()})
)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Explain TERM, a word of the tables and messages; without it list all terms."""
    word = " ".join(values["term"])
    if not word:
        _list(values)
        return
    name = term_of(word)
    if name is None:
        from edgepress.compress.kernel.registry import near_names

        raise InputError(f"no term '{word}'", near_names(word.lower(), words()))
    term = GLOSSARY[name]
    if values["as_json"]:
        display.print_json({"term": name, "text": term.text, "also": term.also, "see": term.see})
        return
    echo(f"{name}: {term.text}")
    for title, others in (("also", term.also), ("see", term.see)):
        if others:
            echo(f"{title}: {', '.join(others)}")


def _list(values: Values) -> None:
    if values["as_json"]:
        display.print_json({name: term.text for name, term in GLOSSARY.items()})
        return
    for name, term in GLOSSARY.items():
        echo(f"{name}: {term.text}")
