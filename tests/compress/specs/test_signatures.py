"""What takes options by name shows each with its type, default and meaning."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from edgepress import compress, deploy
from edgepress.compress.errors import InputError
from edgepress.compress.specs.construction import make_spec
from edgepress.compress.specs.descriptions import field_helps, fields_of
from edgepress.compress.specs.recipe import DataSpec, FinetuneSpec, PruneSpec
from edgepress.compress.specs.signatures import takes_options
from edgepress.compress.specs.training import NOT_OF_RANGE_TEST, NOT_OF_SEARCH, Spec
from edgepress.deploy.recipe import AcceptSpec, BenchmarkSpec, ExportSpec, Recipe
from edgepress.deploy.searching.space import SearchSpec

VERBS: list[tuple[Any, str, Any, tuple[str, ...]]] = [
    (compress, "finetune", FinetuneSpec, ()),
    (compress, "lr_find", FinetuneSpec, NOT_OF_RANGE_TEST),
    (compress, "prune", PruneSpec, ()),
    (compress, "unfreeze_search", FinetuneSpec, NOT_OF_SEARCH),
    (deploy, "benchmark", BenchmarkSpec, ()),
    (deploy, "export", ExportSpec, ()),
    (deploy, "prune", PruneSpec, ()),
]


@pytest.mark.parametrize("verb", VERBS, ids=lambda v: f"{v[0].__name__}.{v[1]}")
def test_a_verb_shows_all_its_options(verb: tuple[Any, str, Any, tuple[str, ...]]) -> None:
    package, name, kind, skipped = verb
    function = getattr(package, name)
    shown = inspect.signature(function).parameters
    told = inspect.getdoc(function) or ""
    for field, info in fields_of(kind).items():
        if field in skipped:
            assert field not in shown
            continue
        assert shown[field].annotation is not inspect.Parameter.empty
        if (name, field) not in (("export", "quantize"), ("finetune", "callbacks")):
            assert shown[field].default == info.get_default(call_default_factory=True)
        assert told.count(f"\n    {field}: ") == 1
        assert f"\n    {field}: \n" not in told
    assert "options" not in shown
    assert "**options" not in told
    assert "Returns:" in told
    assert max(map(len, told.splitlines())) <= 100


@pytest.mark.parametrize(
    "kind",
    [DataSpec, FinetuneSpec, PruneSpec, ExportSpec, BenchmarkSpec, AcceptSpec, Recipe, SearchSpec],
)
def test_every_field_has_a_meaning(kind: Any) -> None:
    assert [n for n in fields_of(kind) if len(field_helps(kind).get(n, "")) < 8] == []
    assert sorted(field_helps(kind).keys() - fields_of(kind).keys()) == []


def test_a_function_is_one_object_whatever_was_imported() -> None:
    """A module of a function's name would take its place in the package once imported."""
    before = {(p.__name__, n): getattr(p, n) for p in (compress, deploy) for n in p.__all__}
    for package in (compress, deploy):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)
    after = {(p.__name__, n): getattr(p, n) for p in (compress, deploy) for n in p.__all__}
    assert {name for name in before if before[name] is not after[name]} == set()
    assert all(callable(function) for function in after.values())
    assert compress.finetune is importlib.import_module("edgepress.compress.training").finetune


class Tea(Spec):
    """Tea.

    Attributes:
        leaf: Which leaves.
        minutes: How long they stay.
    """

    leaf: Literal["green", "black"] = "green"
    minutes: Annotated[float, Field(gt=0)] | None = None


class Coffee(Spec):
    """Coffee.

    Attributes:
        bean: Which beans.
    """

    bean: str = "arabica"


def test_options_of_a_union_are_those_of_all_its_members() -> None:
    @takes_options(Annotated[Tea | Coffee, Field()], skip=("leaf",))
    def brew(cup: int, **options: Any) -> None:
        """Brew.

        Args:
            cup: Where.
            **options: What.
        """

    shown = inspect.signature(brew).parameters
    assert list(shown) == ["cup", "minutes", "bean"]
    assert shown["minutes"].annotation == float | None
    assert inspect.getdoc(brew) == (
        "Brew.\n\nArgs:\n    cup: Where.\n    minutes: How long they stay.\n    bean: Which beans."
    )


def test_what_is_given_by_name_changes_a_spec() -> None:
    tea = make_spec(Tea, {"minutes": 2}, base=Tea(leaf="black", minutes=5))
    assert tea == Tea(leaf="black", minutes=2)
    assert make_spec(Tea, {}, base=Tea()).model_fields_set == set()
    with pytest.raises(InputError, match="unknown option 'sugar'"):
        make_spec(Tea, {"sugar": 1}, base=Tea())
