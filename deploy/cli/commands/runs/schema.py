"""`edgepress schema`."""

from __future__ import annotations

import click
from pydantic import BaseModel

from edgepress.compress.kernel.files import write_json
from edgepress.deploy.cli import display
from edgepress.deploy.cli.help_sections import SectionedCommand
from edgepress.deploy.cli.options import Values, common_options, keyword_values, output_options


@click.command(cls=SectionedCommand)
@click.option("--search", is_flag=True, help="The schema of a recipe for edgepress search.")
@output_options(required=False, help="Write the schema to this file instead.")
@common_options
@keyword_values
def command(values: Values) -> None:
    """Print the JSON schema of a recipe: each field with its type, limits, default and meaning.

    Editors complete and check a recipe by it. For those with the YAML language server (VS Code,
    Neovim, Emacs), write it beside the recipe with -o recipe.schema.json and begin the recipe with

    # yaml-language-server: $schema=recipe.schema.json
    """
    document = _kind(values["search"]).model_json_schema()
    if values["output"]:
        write_json(values["output"], document, force=values["force"])
    else:
        display.print_json(document)


def _kind(search: bool) -> type[BaseModel]:
    if search:
        from edgepress.deploy.searching.space import SearchRecipe

        return SearchRecipe
    from edgepress.deploy.recipe import Recipe

    return Recipe
