"""Names that people's scripts, recipes and commands hold go on working.

`public_names.json` lists them as they were once published; entries are added, never taken out. An
option may move out of sight (hidden in `--help`), not out of reach.
"""

from __future__ import annotations

import inspect
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import ValidationError

from edgepress.compress.specs.recipe import UNSTRUCTURED
from edgepress.deploy.cli.main import cli
from edgepress.deploy.searching.space import SearchRecipe

NAMES: dict[str, Any] = json.loads((Path(__file__).parent / "public_names.json").read_text("utf-8"))


@pytest.mark.parametrize("name", NAMES["functions"])
def test_each_function_takes_what_it_took(name: str) -> None:
    door, _, function = name.partition(".")
    package = import_module(f"edgepress.{door}")
    assert function in package.__all__
    taken = inspect.signature(getattr(package, function)).parameters
    before = NAMES["functions"][name]
    assert list(taken)[: len(before["positional"])] == before["positional"]
    for keyword in before["positional"]:
        assert taken[keyword].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert [k for k in before["keywords"] if k not in taken] == []


@pytest.mark.parametrize("name", NAMES["options"])
def test_each_command_takes_what_it_took(name: str) -> None:
    command: Any = cli
    for word in name.split():
        command = command.get_command(click.Context(command), word)
        assert command is not None
    options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
    assert sorted(set(NAMES["options"][name]) - options) == []


def is_read(part: str, field: str, **beside: Any) -> bool:
    """Whether a recipe may hold a field, whatever its value must be."""
    entry = {**beside, field: object()}
    recipe: dict[str, Any] = {"model": "m.keras", "data": "d.npz"}
    recipe |= {part: [entry] if part == "prune" else entry} if part else entry
    try:
        SearchRecipe.model_validate(recipe)
    except ValidationError as error:
        unknown = [e["loc"][-1] for e in error.errors() if e["type"] == "extra_forbidden"]
        return field not in unknown
    return True


@pytest.mark.parametrize("part", NAMES["recipe"])
def test_each_part_of_a_recipe_holds_what_it_held(part: str) -> None:
    beside: list[dict[str, Any]] = [{}]
    if part == "data":
        beside = [{"spec": "d.npz"}]
    if part == "prune":  # an option may belong to one structure alone
        beside = [{"structure": s} for s in (*UNSTRUCTURED, "channels", "layers")]
    fields = [f for f in NAMES["recipe"][part] if not any(is_read(part, f, **b) for b in beside)]
    assert fields == []


def test_a_name_that_never_was_is_found_missing() -> None:
    assert not is_read("export", "colour")
    assert not is_read("prune", "colour", structure="weights")
    assert not is_read("", "colour")
