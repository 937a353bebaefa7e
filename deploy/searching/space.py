"""What a search varies in a recipe, and what it is judged by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from edgepress.compress.errors import InputError
from edgepress.compress.specs.construction import make_spec
from edgepress.compress.specs.prune_step import RECOVER_NAMES
from edgepress.compress.specs.recipe import TARGETS, Spec
from edgepress.deploy.recipe import List, Recipe
from edgepress.deploy.searching.limits import refuse_ram_elsewhere
from edgepress.deploy.searching.objectives import OBJECTIVES
from edgepress.deploy.searching.pruners import PRUNERS
from edgepress.deploy.searching.samplers import SAMPLERS

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Values = Mapping[str, Any]


class Range(Spec):
    """Numbers from one to another.

    Attributes:
        low: The smallest; two whole numbers give whole numbers.
        high: The largest, itself included.
        step: Distance of the numbers; 1 between whole ones, none between others by default.
        log: Whether small numbers are tried as often as large ones, as rates need it.
    """

    low: int | float
    high: int | float
    step: int | float | None = Field(None, gt=0)
    log: bool = False

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs numbers above 0 and no step")
        return self

    def distribution(self) -> BaseDistribution:
        """As Optuna draws from it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, self.log, int(self.step or 1))
        return FloatDistribution(float(self.low), float(self.high), self.log, self.step)


class SearchSpec(Spec):
    """The search part of a recipe.

    Attributes:
        space: What varies, by place in the recipe (`prune.0.target_macs`): a range or a list of
            values. By default the shares that the pruning steps aim at, from 0.25 to 0.9.
        objectives: What recipes are judged by: metric (on validation data), latency, bytes,
            gzip_bytes, ram, memory, energy, macs, params.
        format: Format of the file that is judged; the first that is exported by default.
        quantize: Its precision; the last that is exported by default.
        sampler: What draws recipes after the first eight, which are spread out: tpe, nsga2, random.
        pruner: Which trials are stopped early: "asha" and "hyperband" compare those that were
            trained equally long, "none" stops no trial.
        prune_after: Epochs after which a trial is compared first; then three times as many, and so
            on.
    """

    space: dict[str, Range | list[Any]] = Field(default_factory=dict)
    objectives: List = ("metric", "latency")
    format: str | None = None
    quantize: str | None = None
    sampler: str = "tpe"
    pruner: str = "none"
    prune_after: int = Field(2, ge=1)

    @model_validator(mode="after")
    def _names_objectives(self) -> Self:
        for name in self.objectives:
            try:
                OBJECTIVES[name]
            except InputError as error:
                raise ValueError(error.format_message()) from None
        try:
            SAMPLERS[self.sampler]
            PRUNERS[self.pruner]
        except InputError as error:
            raise ValueError(error.format_message()) from None
        refuse_ram_elsewhere(self.format, self.objectives)
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError("an objective is named twice")
        for place, choice in self.space.items():
            if isinstance(choice, list) and not choice:
                raise ValueError(f"space.{place} has no values")
        return self


class SearchRecipe(Recipe):
    """A recipe of which parts vary.

    Attributes:
        search: What varies, and what is judged.
    """

    search: SearchSpec = SearchSpec()

    def space(self) -> dict[str, Range | list[Any]]:
        """What varies.

        Raises:
            InputError: Nothing does.
        """
        found = dict(self.search.space) or self._shares()
        if not found:
            raise InputError(
                "the recipe has nothing to vary",
                "add search: {space: {prune.0.target_macs: {low: 0.3, high: 0.8}}}",
            )
        return found

    def _shares(self) -> dict[str, Range | list[Any]]:
        """The shares that pruning steps aim at."""
        found: dict[str, Range | list[Any]] = {}
        for number, step in enumerate(self.prune):
            for name in TARGETS:
                value = getattr(step, name)
                if isinstance(value, float) and 0 < value < 1:
                    found[f"prune.{number}.{name}"] = Range(low=0.25, high=0.9)
        return found

    def own(self) -> dict[str, Any]:
        """The values that the recipe itself has where it could vary."""
        tree = self.model_dump(mode="json")
        return {place: _at(tree, _written(tree, place)) for place in self.space()}

    def with_values(self, values: Values) -> Recipe:
        """The plain recipe with other values.

        Raises:
            InputError: A place isn't in the recipe, or a value is impossible there.
        """
        tree = self.model_dump(mode="json", exclude={"search"})
        for place, value in values.items():
            _set(tree, place, value)
        return make_spec(Recipe, tree, "search: ")


def _at(tree: Any, place: str) -> Any:
    for key in place.split("."):
        try:
            tree = tree[int(key)] if isinstance(tree, list) else tree[key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise InputError(
                f"search: the recipe has no '{place}' ('{key}' is missing)",
                "write the part that varies into the recipe first",
            ) from None
    return tree


def _written(tree: Any, place: str) -> str:
    """A place as a recipe is written: options of `recover` are named beside those of a step too."""
    above, _, key = place.rpartition(".")
    beside = key in RECOVER_NAMES and "recover" in (_at(tree, above) if above else ())
    return f"{above}.recover.{RECOVER_NAMES[key]}" if beside else place


def _set(tree: Any, place: str, value: Any) -> None:
    written = _written(tree, place)
    _at(tree, written)
    above, _, key = written.rpartition(".")
    parent = _at(tree, above) if above else tree
    if written != place:  # by the name that people gave it, which errors tell again
        del parent[key]
        above, _, key = place.rpartition(".")
        parent = _at(tree, above)
    parent[int(key) if isinstance(parent, list) else key] = value


def ends(recipe: SearchRecipe) -> Iterator[Recipe]:
    """The recipe with each value of a list, and with each end of a range, one at a time.

    Raises:
        InputError: A place isn't in the recipe, or a value is impossible there.
    """
    for place, choice in recipe.space().items():
        for value in choice if isinstance(choice, list) else [choice.low, choice.high]:
            yield recipe.with_values({place: value})


def distributions(recipe: SearchRecipe) -> dict[str, BaseDistribution]:
    """What varies, as Optuna draws from it. Values of a list are drawn by their position."""
    from optuna.distributions import CategoricalDistribution

    return {
        place: CategoricalDistribution(list(range(len(choice))))
        if isinstance(choice, list)
        else choice.distribution()
        for place, choice in recipe.space().items()
    }


def values_of(recipe: SearchRecipe, drawn: Values) -> dict[str, Any]:
    """The recipe's values from what was drawn."""
    space = recipe.space()
    found = {}
    for place, value in drawn.items():
        choice = space[place]
        found[place] = choice[value] if isinstance(choice, list) else value
    return found


def drawn_of(recipe: SearchRecipe, values: Values) -> dict[str, Any] | None:
    """The inverse of `values_of`; None where a value lies outside the space."""
    space = distributions(recipe)
    found: dict[str, Any] = {}
    for place, value in values.items():
        choice = recipe.space()[place]
        if isinstance(choice, list):
            if value not in choice:
                return None
            found[place] = choice.index(value)
            continue
        if not isinstance(value, int | float) or not space[place]._contains(float(value)):
            return None
        found[place] = value
    return found
