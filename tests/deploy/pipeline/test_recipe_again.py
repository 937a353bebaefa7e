"""The recipe that a run writes is read again as the same one, whatever was asked for."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from edgepress.compress.errors import InputError
from edgepress.compress.specs.construction import fields_of
from edgepress.compress.specs.prune_step import RECOVER_NAMES, RecoverSpec
from edgepress.compress.specs.pruning import ChannelsSpec
from edgepress.compress.specs.recipe import TARGETS, UNSTRUCTURED, DataSpec, FinetuneSpec, PruneSpec
from edgepress.compress.structure.planning.resolving import resolved
from edgepress.compress.weights.pruning import check_spec
from edgepress.deploy import run
from edgepress.deploy.fitting.spec import FitRecipe, FitSpec
from edgepress.deploy.recipe import (
    AcceptSpec,
    BenchmarkSpec,
    ExportSpec,
    Recipe,
    read_recipe,
    write_recipe,
)
from edgepress.deploy.searching.space import SearchRecipe

SCHEDULES = get_args(fields_of(PruneSpec)["schedule"].annotation)
# Text that YAML might take for something else, and names as people have them.
_TEXTS = st.sampled_from(["conv", "block_*", "1e-3", "null", "yes", "0x10", "a: b", "Ünïcode", "~"])
# Fields whose text has a form of its own.
_FORMS: dict[str, st.SearchStrategy[Any]] = {
    "lr": st.sampled_from(["auto", 1e-4, "1/300"]),
    "recover_lr": st.sampled_from(["auto", 1e-4, 0.5]),
    "target_latency": st.sampled_from([0.5, 2, "0.8ms", "1.5 ms"]),
    "lr_points": st.sampled_from(["5=1e-3,10=1e-4", ((1, 0.5),), ()]),
    "class_weights": st.sampled_from(["none", "balanced", {0: 1, "cat": 2.5}, "0=1,3=2.5"]),
    "positive_weights": st.sampled_from(["none", 2.5, (1, 2.5), {"cat": 2.5}]),
    "scale": st.sampled_from(["1/255", 0.5]),
    "mean": st.sampled_from(["0.5,0.5", 0.25, None]),
    "std": st.sampled_from(["0.5,1/3", None]),
    "resize": st.sampled_from(["96x64", (8, 8), None]),
    "block": st.sampled_from(["1x4", "4x1"]),
    "pattern": st.sampled_from(["2:4", "1:2", None]),
    "shapes": st.sampled_from([{}, {"image": "24x36"}, {"a": (1, 2, 3)}]),
    "graph_batch": st.sampled_from(["auto", "dynamic", 4, "8"]),
    "cpus": st.sampled_from(["0,2-3", (), 1]),
    "precision": st.sampled_from([None, "1%", 0.5]),
    "minimise": st.sampled_from(["latency", "gzip_bytes", "speed"]),
    "max_bytes": st.sampled_from([None, "64kB", "50%", 0.5, 64000]),
    "max_ram": st.sampled_from([None, "64KiB", "50%", 8192]),
    "max_latency": st.sampled_from([None, "20ms", 0.5, "50%"]),
    "max_drop": st.sampled_from([None, "1%", 0.5, 0]),
    "int8_max_drop": st.sampled_from([None, "2%", 0.01]),
    "threads": st.sampled_from([1, 4]),
}


def _values(name: str, info: FieldInfo) -> st.SearchStrategy[Any]:
    if name in _FORMS:
        return _FORMS[name]
    return _of_type(info.annotation, tuple(info.metadata))


def _of_type(kind: Any, limits: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _of_type(parts[0], (*limits, *parts[1:]))
    if origin is Literal:
        return st.sampled_from(parts)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([_of_type(part, limits) for part in parts])
    if origin is tuple:
        return st.lists(_of_type(parts[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(_TEXTS, st.floats(0.01, 0.99), max_size=2)
    if kind is type(None):
        return st.none()
    if kind is bool:
        return st.booleans()
    low = next((getattr(m, "ge", getattr(m, "gt", None)) for m in _flat(limits)), None)
    if kind is int:
        return st.integers(int(low or 0), int(low or 0) + 40)
    if kind is float:
        return st.floats(0, 1.5, exclude_min=True)
    return _TEXTS


def _flat(limits: tuple[Any, ...]) -> list[Any]:
    """Limits that stand inside a field's own annotation too."""
    found = [m for limit in limits for m in getattr(limit, "metadata", [limit])]
    return [m for m in found if isinstance(m, annotated_types.Ge | annotated_types.Gt)]


def some(kind: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """A few fields of a specification, of the right types; not all of them go together."""
    fields = {name: _values(name, info) for name, info in fields_of(kind).items()}
    return st.lists(st.sampled_from(sorted(fields)), max_size=5, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: fields[name] for name in names})
    )


def steps() -> st.SearchStrategy[dict[str, Any]]:
    """Pruning steps of every structure and schedule, each with a target."""
    base = {
        "structure": st.sampled_from([*UNSTRUCTURED, "channels", "layers"]),
        "schedule": st.sampled_from(SCHEDULES),
        "recover_epochs": st.integers(0, 3),
    }
    targets = {name: st.sampled_from([0.3, 0.5]) for name in (*TARGETS[:4], TARGETS[4])}
    target = st.sampled_from(sorted(targets)).flatmap(
        lambda name: st.fixed_dictionaries({name: targets[name]})
    )
    recover = st.one_of(st.just({}), some(RecoverSpec).map(lambda fields: {"recover": fields}))
    return st.tuples(some(PruneSpec), st.fixed_dictionaries(base), target, recover).map(_one_step)


def _one_step(parts: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """A step whose training is said in `recover` or beside it, not twice."""
    values = {name: value for part in parts for name, value in part.items()}
    inside = values.get("recover", {})
    return {n: v for n, v in values.items() if RECOVER_NAMES.get(n) not in inside}


def again(recipe: Recipe, kind: type[Recipe] = Recipe) -> Recipe:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        write_recipe(recipe, path)
        return read_recipe(path, kind)


def refusal(step: PruneSpec) -> str:
    """What the work itself says against a step, with data."""
    data: Any = object()
    try:
        if isinstance(step, ChannelsSpec):
            resolved(step, data)
        else:
            check_spec(step, data) if step.structure in UNSTRUCTURED else step.check(True)
    except InputError as error:
        return error.format_message()
    return ""


def made(kind: type[BaseModel], values: dict[str, Any]) -> Any:
    try:
        return kind(**values)
    except ValidationError:
        return None


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps())
def test_a_pruning_step_is_read_again_and_judged_alike(values: dict[str, Any]) -> None:
    step = made(PruneSpec, values)
    if step is None:
        return
    (read,) = again(Recipe(model="m.keras", data="d.npz", prune=(step,))).prune
    assert read == step
    assert refusal(read) == refusal(step)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(
        some(FinetuneSpec).map(lambda v: ("finetune", FinetuneSpec, v)),
        some(ExportSpec).map(lambda v: ("export", ExportSpec, v)),
        some(BenchmarkSpec).map(lambda v: ("benchmark", BenchmarkSpec, v)),
        some(AcceptSpec).map(lambda v: ("accept", AcceptSpec, v)),
        some(DataSpec).map(lambda v: ("data", DataSpec, {**v, "spec": "d.npz"})),
    )
)
def test_every_other_part_is_read_again(part: tuple[str, type[BaseModel], dict[str, Any]]) -> None:
    name, kind, values = part
    spec = made(kind, values)
    if spec is not None:
        recipe = Recipe(**{"model": "m.keras", "data": "d.npz", name: spec})
        assert again(recipe) == recipe


@pytest.mark.parametrize("structure", [*UNSTRUCTURED, "channels", "layers"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_structure_along_each_schedule_is_read_again(structure: str, schedule: str) -> None:
    values = {"structure": structure, "schedule": schedule, "recover_epochs": 2, "steps": 2}
    values |= {} if structure == "clusters" else {"sparsity": 0.5}
    for left_out in ({}, {"steps"}):
        kept = {k: v for k, v in values.items() if k not in left_out}
        step = made(PruneSpec, kept)
        if step is not None:
            (read,) = again(Recipe(model="m", data="d", prune=(step,))).prune
            assert refusal(read) == refusal(step)


@settings(max_examples=30, deadline=None)
@given(some(FitSpec))
def test_what_a_fit_keeps_is_read_again(values: dict[str, Any]) -> None:
    spec = made(FitSpec, values)
    if spec is not None:
        recipe = FitRecipe(model="m.keras", data=DataSpec(spec="d.npz"), fit=spec)
        assert again(recipe, FitRecipe) == recipe


def test_the_search_is_read_again() -> None:
    space = {"prune.0.sparsity": {"low": 0.3, "high": 0.8}, "prune.0.criterion": ["l1", "l2"]}
    recipe = SearchRecipe(model="m", data="d", prune=({"sparsity": 0.5},), search={"space": space})  # type: ignore[arg-type]
    assert again(recipe, SearchRecipe) == recipe


def test_a_path_is_a_text_and_an_endless_number_is_none() -> None:
    assert DataSpec(spec=Path("d.npz")).spec == "d.npz"
    with pytest.raises(ValidationError):
        PruneSpec(target_macs=float("inf"), structure="channels")


def test_data_in_memory_is_refused_before_any_work(tmp_path: Path) -> None:
    recipe = Recipe(model="m.keras", data=DataSpec(spec={"x": np.zeros(3), "y": np.zeros(3)}))
    with pytest.raises(InputError) as caught:
        run(recipe, tmp_path / "run")
    assert "numpy.savez" in caught.value.format_message()
    assert not (tmp_path / "run").exists()
