"""A pruning step is of one kind, has the options of that kind, and a whole training behind it."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edgepress.compress.errors import InputError
from edgepress.compress.pruning import PRUNERS
from edgepress.compress.specs.construction import make_spec
from edgepress.compress.specs.prune_step import RECOVER_NAMES, RecoverSpec
from edgepress.compress.specs.recipe import PruneSpec, TrainSpec
from edgepress.deploy.recipe import Recipe, read_recipe, write_recipe

# The least that each kind needs.
LEAST: dict[str, dict[str, Any]] = {
    "weights": {"sparsity": 0.5},
    "blocks": {"sparsity": 0.5},
    "nm": {"pattern": "2:4"},
    "kernels": {"sparsity": 0.5},
    "clusters": {"clusters": 8},
    "channels": {"target_macs": 0.5},
    "layers": {"target_macs": 0.5},
}
# Options of one kind that came later.
SINCE = {"target_format": "tflite", "target_precision": "float32"}
# A step as runs wrote it when all kinds had all options, each spelled out.
FLAT: dict[str, Any] = {
    "sparsity": None, "target_macs": None, "target_params": None, "target_size": None,
    "packing": "gzip", "target_arena": None, "target_latency": None, "device": None, "threads": 1,
    "criterion": "l1", "schedule": "one-shot", "initial_sparsity": 0.0, "begin_step": 0,
    "end_step": None, "frequency": None, "power": 3.0, "penalty": 0.1, "penalty_epochs": None,
    "steps": 1, "rewind": False, "protect": [], "per_layer": {}, "block": "1x4", "pattern": None,
    "clusters": 16, "depthwise": False, "allocation": "global", "group_reduction": "mean",
    "round_to": 8, "min_channels": 1, "min_share": 0.25, "repair": True,
    "calibration_samples": 512, "recover_epochs": 0, "recover_optimizer": "adam",
    "recover_lr": 0.001, "recover_schedule": "cosine", "recover_batch_size": 64, "distill": True,
    "match_layers": [], "release_zeros": False, "release_clusters": False, "max_drop": None,
}  # fmt: skip
UNITS = {"criterion": "auto", "recover_lr": 0.002}
# A value of each training option that isn't its default.
TRAINING: dict[str, Any] = {
    "epochs": 7, "batch_size": 9, "optimizer": "sgd", "lr": 0.5, "momentum": 0.5,
    "weight_decay": 0.1, "schedule": "step", "warmup": 1.5, "lr_factor": 0.2, "lr_every": 3,
    "lr_growth": 2.0, "lr_power": 2.0, "lr_points": ((2.0, 0.1),), "lr_patience": 2,
    "min_lr": 1e-3, "early_stopping": 4, "restore_best": False, "clipnorm": 1.0, "clipvalue": 0.5,
    "accumulate": 2, "ema": 0.9, "class_weights": "balanced", "compute": "bfloat16",
    "positive_weights": "2",
    "temperature": 2.0, "distill_weight": 0.5, "distribute": "mirrored",
    "distill_layers": ("conv",), "distill_layers_weight": 2.0, "release_zeros": True,
    "release_clusters": True, "log_csv": "log.csv", "log_tensorboard": "events", "distill": False,
}  # fmt: skip


def least(structure: str) -> PruneSpec:
    return PruneSpec(structure=structure, **LEAST[structure])


def write(tmp_path: Path, step: str) -> Path:
    path = tmp_path / "r.yaml"
    path.write_text(f"model: m.keras\ndata: d.npz\nprune:\n{step}")
    return path


@pytest.mark.parametrize("structure", LEAST)
def test_each_way_to_a_step_gives_its_kind(structure: str) -> None:
    values = {"structure": structure, **LEAST[structure]}
    spec = PruneSpec(**values)
    kind = type(spec)
    assert kind is not PruneSpec
    assert isinstance(spec, PruneSpec)
    for other in (
        PruneSpec.model_validate(values),
        PruneSpec.model_validate_json(spec.model_dump_json()),
        kind(**LEAST[structure]),
        make_spec(PruneSpec, values),
        Recipe(model="m", data="d", prune=values).prune[0],
        Recipe(model="m", data="d", prune=[spec]).prune[0],
        pickle.loads(pickle.dumps(spec)),
        copy.deepcopy(spec),
    ):
        assert type(other) is kind
        assert other == spec
    assert structure in PRUNERS


@pytest.mark.parametrize("structure", LEAST)
def test_a_step_that_an_older_run_spelled_out_is_read(structure: str, tmp_path: Path) -> None:
    units = UNITS if structure in ("channels", "layers") else {}
    old = FLAT | units | {"structure": structure, **LEAST[structure]}
    # Their default of multiples, spelled out, reads as if it had been asked for.
    kept = {"round_to": 8} if structure == "channels" else {}
    assert PruneSpec.model_validate(old) == PruneSpec(
        structure=structure, **LEAST[structure], **kept
    )
    recipe = Recipe(model="m", data="d", prune=(old,))
    write_recipe(recipe, tmp_path / "r.yaml")
    assert read_recipe(tmp_path / "r.yaml") == recipe


@pytest.mark.parametrize("structure", LEAST)
def test_an_option_of_another_kind_is_refused_by_name(structure: str) -> None:
    spec = least(structure)
    own = set(type(spec).model_fields)
    for owner in (least(other) for other in LEAST):
        for name in set(type(owner).model_fields) - own:
            with pytest.raises(InputError) as caught:
                make_spec(PruneSpec, {"structure": structure, **LEAST[structure], name: "17"})
            said = caught.value.format_message()
            assert name in said
            assert structure in said
            assert getattr(spec, name) in ((FLAT | SINCE)[name], UNITS.get(name))


@pytest.mark.parametrize("field", RecoverSpec.model_fields)
def test_a_training_option_is_read_in_recover_and_beside_it(field: str) -> None:
    (name,) = [n for n, f in RECOVER_NAMES.items() if f == field]
    value = TRAINING[field]
    base = {"structure": "channels", "sparsity": 0.5}
    inside = PruneSpec(**base, recover={field: value})
    beside = PruneSpec(**base, **{name: value})
    plain = PruneSpec(**base)
    assert inside == beside != plain
    assert getattr(beside, name) == value != getattr(plain, name)
    assert plain.model_copy(update={name: value}) == inside
    assert inside.recover.model_copy(update={field: getattr(plain.recover, field)}) == plain.recover
    if field != "distill":
        assert getattr(inside.recovery(), field) == value
    with pytest.raises(ValidationError, match=f"{name} and recover.{field} are the same option"):
        PruneSpec(**base, recover={field: value}, **{name: value})


def test_every_training_option_has_a_value_to_try() -> None:
    assert set(TRAINING) == set(RecoverSpec.model_fields) == set(RECOVER_NAMES.values())
    assert set(RecoverSpec.model_fields) - set(TrainSpec.model_fields) == {"distill"}


def test_a_training_specification_is_taken_and_what_it_leaves_open_is_the_recoverys_own() -> None:
    spec = PruneSpec(structure="layers", sparsity=0.3, recover=TrainSpec(epochs=3, lr="auto"))
    assert spec == PruneSpec(structure="layers", sparsity=0.3, recover_epochs=3, recover_lr="auto")
    assert spec.recover.schedule == "cosine"


@pytest.mark.parametrize(
    ("step", "line", "said"),
    [
        (
            "  - structure: weights\n    sparsity: 0.5\n    recover_epochs: -1\n",
            6,
            "recover_epochs",
        ),
        ("  - sparsity: 0.5\n    recover:\n      epochs: -1\n", 6, "prune.0.recover.epochs -1"),
        ("  - sparsity: 0.5\n    recover:\n      epocs: 1\n", 6, "'prune.0.recover.epocs'"),
        ("  - sparsity: 0.5\n    round_to: 4\n", 5, "round_to is for structure channels"),
        ("  - sparsity: 0.5\n    structure: chanels\n", 5, "unknown structure 'chanels'"),
        ("  - {sparsity: 0.5}\n  - {structure: nm}\n", 5, "give exactly one of sparsity"),
        ("  - sparsity: 2\n", 4, "prune.0.sparsity 2"),
        ("  - 0.5\n", 4, "prune.0"),
    ],
)
def test_errors_in_a_recipe_name_line_and_option(
    step: str, line: int, said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        read_recipe(write(tmp_path, step))
    assert f"r.yaml:{line}: " in caught.value.format_message()
    assert said in caught.value.format_message()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"schedule": "polynomial", "recover_early_stopping": 3},
            "early_stopping does not go with",
        ),
        ({"recover_distribute": "mirrored"}, "recover.distribute is for the recovery after"),
        ({"recover_clipnorm": 1, "recover_clipvalue": 1}, "give one of clipnorm and clipvalue"),
    ],
)
def test_trainings_that_no_pruning_can_use_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make_spec(PruneSpec, {"sparsity": 0.5, "recover_epochs": 2, **options})


@given(st.sampled_from(sorted(LEAST)), st.sampled_from(["None", "False", "empty"]))
def test_an_option_of_another_kind_that_is_off_asks_for_nothing(structure: str, off: str) -> None:
    value: Any = {"None": None, "False": False, "empty": []}[off]
    foreign = set(PruneSpec.option_fields()) - set(type(least(structure)).model_fields)
    values = {name: value for name in foreign - set(RECOVER_NAMES)}
    assert PruneSpec(structure=structure, **LEAST[structure], **values) == least(structure)


def test_the_schema_of_a_recipe_tells_the_kinds_apart() -> None:
    schema = Recipe.model_json_schema()
    several, items = schema["properties"]["prune"]["anyOf"]
    assert several["items"] == items
    assert items["discriminator"]["propertyName"] == "structure"
    assert set(items["discriminator"]["mapping"]) == set(LEAST)
    assert len(items["oneOf"]) == len(LEAST)
    for structure, place in items["discriminator"]["mapping"].items():
        part = schema["$defs"][place.rpartition("/")[2]]
        named = set(part["properties"])
        assert named == {*type(least(structure)).model_fields, *RECOVER_NAMES}
        assert ("structure" in part.get("required", ())) is (structure != "weights")
