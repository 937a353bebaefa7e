"""The recipe: one file that describes the full pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar, overload

import yaml
from pydantic import BeforeValidator, Field, ValidationError

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import may_name_files, reason
from edgepress.compress.kernel.files import write_text
from edgepress.compress.specs.construction import explain, hint
from edgepress.compress.specs.prune_parts import Share
from edgepress.compress.specs.recipe import DataSpec, FinetuneSpec, PruneSpec, Spec
from edgepress.compress.specs.training import LARGEST_SEED, Drop, Latency
from edgepress.compress.specs.yaml_text import read_yaml
from edgepress.deploy.specs.benchmark import BenchmarkSpec as BenchmarkSpec
from edgepress.deploy.specs.export import ExportSpec as ExportSpec
from edgepress.deploy.specs.notation import List as List


class AcceptSpec(Spec):
    """What the result must keep.

    Attributes:
        max_drop: Largest fall of the metric from the given model to any exported file: points of
            a score as a share of 1, or the share by which an error grows.
        max_bytes: Largest size of each exported file (of C sources: of their array, in flash), as
            64kB, 64KiB, or a share of the given model's float32 TFLite file.
        max_ram: Most memory of each file, alike: the activations of TFLite files, the whole arena
            of C sources.
        max_latency: Longest inference of each file on the first device, as 20ms, or a share of
            that float32 file's.
    """

    max_drop: Drop | None = Field(None, ge=0)
    max_bytes: Share = None
    max_ram: Share = None
    max_latency: Latency | None = None


def _as_steps(value: Any) -> Any:
    return [value] if isinstance(value, dict | PruneSpec) else value


def _or_its_text(kinds: Any) -> BeforeValidator:
    """Tells editors what a specification reads beside its own fields; it reads that itself."""
    return BeforeValidator(lambda value: value, json_schema_input_type=kinds)


class Recipe(Spec):
    """The full pipeline.

    Attributes:
        model: The model, as the command line takes it.
        data: The data.
        finetune: Fine-tuning before pruning, or None.
        prune: Pruning steps in order.
        export: Files to write.
        benchmark: What is measured.
        accept: What the result must keep.
        seed: Seed of every random choice.
        custom_objects: Python file with the user's layers.
        unsafe_lambda: Whether Lambda layers may run their Python code.
    """

    model: str
    data: Annotated[DataSpec, _or_its_text(DataSpec | str)]
    finetune: FinetuneSpec | None = None
    prune: Annotated[
        tuple[PruneSpec, ...],
        BeforeValidator(_as_steps, json_schema_input_type=tuple[PruneSpec, ...] | PruneSpec),
    ] = ()
    export: ExportSpec = Field(default_factory=ExportSpec)
    benchmark: BenchmarkSpec = Field(default_factory=BenchmarkSpec)
    accept: AcceptSpec = Field(default_factory=AcceptSpec)
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    custom_objects: str | None = None
    unsafe_lambda: bool = False


R = TypeVar("R", bound=Recipe)


@overload
def read_recipe(path: Path) -> Recipe: ...
@overload
def read_recipe(path: Path, kind: type[R]) -> R: ...
def read_recipe(path: Path, kind: type[Recipe] = Recipe) -> Recipe:
    """Read a recipe; errors name its lines.

    Args:
        path: A YAML file. Paths in it are relative to the working directory.
        kind: What the file holds: a recipe, or one with more to it.

    Raises:
        InputError: The file is missing, isn't YAML, or holds something unknown or impossible.
    """
    values, tree = read_yaml(path, "recipe")
    if not isinstance(values, dict):
        raise InputError(f"recipe '{path}' is not a mapping", "it begins with model: and data:")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        line = line_of(tree, problem["loc"])
        raise InputError(f"{path}:{line}: {explain(problem)}", hint(problem, kind)) from None
    except UnicodeError as error:  # pydantic can't take half a character
        raise InputError(f"recipe '{path}' can't be read: {reason(error)}") from error


def line_of(node: yaml.Node | None, place: tuple[Any, ...]) -> int:
    """Line number, from 1, of the entry that a place in the values stands for."""
    line = 1
    for step in place:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == str(step)]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line


def check_writable(recipe: Recipe) -> None:
    """Refuse, before any work, a recipe that its own file couldn't say again.

    Raises:
        InputError: The data is a value in memory, which `--resume` could not find.
    """
    if not isinstance(recipe.data.spec, str):
        kind = type(recipe.data.spec).__name__
        raise InputError(
            f"a run's data must be available when it is resumed, and a {kind} in memory isn't",
            "save it with numpy.savez and name the file, or give file.py:function",
        )


def recipe_text(recipe: Recipe) -> str:
    """A recipe with every default filled in, as YAML."""
    return str(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe with every default filled in, whole or not at all."""
    write_text(path, recipe_text(recipe))


def inputs_of(recipe: Recipe) -> list[Any]:
    """Files that a recipe names: no output may replace them."""
    from edgepress.deploy.targets.devices_file import devices_file

    teacher = None if recipe.finetune is None else recipe.finetune.teacher
    more = may_name_files(recipe.model_dump(mode="json", exclude={"data": {"spec"}}))
    return [recipe.model, recipe.data.spec, recipe.custom_objects, teacher, devices_file(), *more]
