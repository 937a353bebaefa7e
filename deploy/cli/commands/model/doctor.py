"""`edgepress doctor`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from edgepress.compress.errors import CheckFailed
from edgepress.deploy.cli import display
from edgepress.deploy.cli.display import echo
from edgepress.deploy.cli.help_sections import SectionedCommand
from edgepress.deploy.cli.options import (
    Values,
    common_options,
    data_options,
    data_spec,
    keyword_values,
    model_argument,
    open_model,
)
from edgepress.deploy.cli.quiet import load_frameworks
from edgepress.deploy.cli.tables.printing import say_marked, say_styled
from edgepress.deploy.cli.valid_names import RUNTIME

if TYPE_CHECKING:
    from edgepress.compress.doctor import Diagnosis, Finding


@click.command(cls=SectionedCommand)
@model_argument
@data_options(required=False)
@click.option("--strict", is_flag=True, help="Exit with code 1 if a problem is found.")
@click.option(
    "--runtime", type=RUNTIME, metavar="NAME", help="List the operators that this runtime lacks."
)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Find problems of MODEL, the data and the environment within seconds.

    A problem is not a failure, since it may concern a step or format that you don't use: the exit
    code is 0 unless --strict is given.
    """
    data = data_spec(values)
    load_frameworks(values["verbose"])
    from edgepress.deploy.doctor import doctor

    diagnosis = doctor(open_model(values), data, seed=values["seed"], runtime=values["runtime"])
    if values["as_json"]:
        display.print_json(diagnosis.to_json())
    else:
        show(values["model"], diagnosis)
    if values["strict"] and not diagnosis.healthy:
        worst = diagnosis.findings[0]
        raise CheckFailed(f"'{values['model']}' has a problem: {worst.message}", worst.hint)


def show(name: str, diagnosis: Diagnosis) -> None:
    """The findings as a list, the worst first; equal ones of several places are one."""
    from edgepress.benchmarks.number_format import counted

    if not diagnosis.findings:
        echo(f"nothing found against {name}")
        return
    severities = [finding.severity for finding in diagnosis.findings]
    counts = [counted(severities.count(kind), kind) for kind in dict.fromkeys(severities)]
    say_styled(f"{name}: {', '.join(counts)}", "bold")
    for finding, places in _merged(diagnosis.findings):
        where = f" ({', '.join(places)})" if places else ""
        say_marked(finding.severity, f"{finding.message}{where}", finding.hint)


def _merged(findings: Iterable[Finding]) -> list[tuple[Finding, list[str]]]:
    """Findings that say the same, once, with all the places that they are about."""
    places: dict[tuple[str, str, str], list[str]] = {}
    first: dict[tuple[str, str, str], Finding] = {}
    for finding in findings:
        key = (finding.severity, finding.message, finding.hint)
        first.setdefault(key, finding)
        named = places.setdefault(key, [])
        if finding.where and finding.where not in (*named, *_words(finding.message)):
            named.append(finding.where)
    return [(finding, places[key]) for key, finding in first.items()]


def _words(message: str) -> list[str]:
    """What a message names in quotes."""
    return message.split("'")[1::2]
