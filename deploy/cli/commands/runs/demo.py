"""`edgepress demo`."""

from __future__ import annotations

from pathlib import Path

import click

from edgepress.deploy.cli.help_sections import SectionedCommand
from edgepress.deploy.cli.options import Values, common_options, keyword_values, output_options
from edgepress.deploy.cli.quiet import load_frameworks
from edgepress.deploy.cli.supervised.run_work import run_work
from edgepress.deploy.cli.supervised.supervision import supervise
from edgepress.deploy.cli.tables.layouts import RUN
from edgepress.deploy.cli.tables.printing import table_options
from edgepress.deploy.demo import demo_recipe


@click.command(cls=SectionedCommand)
@output_options(required=False, help="Folder of the run [default: edgepress-demo, replaced].")
@table_options(*RUN)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Run the full pipeline on scikit-learn's handwritten digits; needs no file."""
    output = values["output"] or Path("edgepress-demo")
    force = values["force"] or values["output"] is None
    supervise(run_work(output))
    load_frameworks(values["verbose"])
    from edgepress.deploy.cli.run_display import finish, run_line

    finish(run_line(demo_recipe(values["seed"]), output, False, force), values["as_json"])
