"""Options of the commands that run trials of a search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from edgepress.deploy.cli.options import seconds_of

F = TypeVar("F", bound=Callable[..., Any])


def trial_options(function: F) -> F:
    """`--workers` and `--time`: how many trials run at once, and until when they begin."""
    for decorate in (
        click.option(
            "--time",
            metavar="TIME",
            callback=seconds_of,
            help="Begin no trial after this time, as 20m or 1h30m.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            help="Trials that run at once.",
        ),
    ):
        function = decorate(function)
    return function
