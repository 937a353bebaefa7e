from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepress.compress.errors import InputError
from edgepress.compress.models.rebuilding.copying import copy_flags, copy_model
from edgepress.compress.training.freezing.select import LayerRef, choose, layer_refs, unfreeze

LETTERS = st.text("abc_", min_size=1, max_size=4)
PATHS = st.lists(st.builds("/".join, st.lists(LETTERS, min_size=1, max_size=2)), max_size=9)


def refs(paths: list[str], weighted: list[bool]) -> list[LayerRef]:
    unique = list(dict.fromkeys(paths))
    return [
        LayerRef(
            p, frozenset({"Conv2D" if w else "ReLU"}), (f"{p}/kernel", f"{p}/bias") if w else ()
        )
        for p, w in zip(unique, weighted + [True] * len(unique), strict=False)
    ]


MODELS = st.builds(refs, PATHS, st.lists(st.booleans(), max_size=9))


@given(MODELS, st.lists(st.text("abc_*?/:-12", max_size=5) | st.sampled_from(["top:1", "all"])))
def test_any_spec_is_read_or_refused_in_one_line(model: list[LayerRef], specs: list[str]) -> None:
    learning = {r.path for r in model if r.weights}
    try:
        chosen = choose(specs, model)
    except InputError as error:
        chosen = None
        message = error.format_message()
    if chosen is None:
        assert "\n" not in message
    else:
        assert chosen.whole | chosen.biases <= learning
        assert not chosen.whole & chosen.biases


@given(MODELS)
def test_every_path_is_its_own_spec(model: list[LayerRef]) -> None:
    for ref in model:
        if ref.weights:
            assert ref.path in choose([ref.path], model)


@given(MODELS, st.integers(1, 9))
def test_top_and_bottom_meet(model: list[LayerRef], n: int) -> None:
    learning = [r.path for r in model if r.weights]
    if not 1 <= n < len(learning):
        return
    top = choose([f"top:{n}"], model).whole
    bottom = choose([f"bottom:{len(learning) - n}"], model).whole
    assert len(top) == n
    assert top | bottom == set(learning)
    assert not top & bottom


@given(MODELS)
def test_union_is_the_union(model: list[LayerRef]) -> None:
    learning = [r.path for r in model if r.weights]
    for a, b in itertools.pairwise(learning):
        both = choose([a, b], model).whole
        assert both == choose([a], model).whole | choose([b], model).whole


@given(MODELS)
def test_from_and_to_overlap_in_the_named_layer_alone(model: list[LayerRef]) -> None:
    heads = {r.path.split("/")[0] for r in model if "/" in r.path}
    for ref in model:
        if ref.weights and ref.path not in heads:
            after = choose([f"from:{ref.path}"], model).whole
            upto = choose([f"to:{ref.path}"], model).whole
            assert after & upto == {ref.path}
            assert after | upto == {r.path for r in model if r.weights}


TRAINED = {
    "top:1": ["head"],
    "bottom:2": ["bn1", "conv1"],
    "middle": ["block/bn2", "block/conv2", "bn1"],
    "middle:2-3": ["bn1", "block/conv2"],
    "middle:bn1-block/conv2": ["bn1", "block/conv2"],
    "from:block": ["block/bn2", "block/conv2", "head"],
    "from:pool": ["head"],
    "to:block": ["block/bn2", "block/conv2", "bn1", "conv1"],
    "block": ["block/bn2", "block/conv2"],
    "block/*": ["block/bn2", "block/conv2"],
    "block/conv2": ["block/conv2"],
    "conv*": ["conv1"],
    "*conv*": ["block/conv2", "conv1"],
    "type:Conv2D": ["block/conv2", "conv1"],
    "norm": ["block/bn2", "bn1"],
    "bias": ["block/conv2", "conv1", "head"],
    "none": [],
    "all": ["block/bn2", "block/conv2", "bn1", "conv1", "head"],
}


@pytest.fixture(scope="module")
def model(networks: Any) -> Any:
    return networks.classifier()


@pytest.mark.parametrize("spec", TRAINED)
def test_specs_on_a_nested_model(model: Any, spec: str) -> None:
    assert sorted(unfreeze(model, [spec])) == sorted(TRAINED[spec])
    flags = {r.path: r.layer.trainable for r in layer_refs(model) if r.weights}
    assert sorted(p for p, on in flags.items() if on) == sorted(TRAINED[spec])
    trained = {v.path for v in model.trainable_variables}
    if spec == "bias":
        assert {p.split("/")[-1] for p in trained} == {"bias"}
    else:
        assert {p.split("/")[-2] for p in trained} == {p.split("/")[-1] for p in TRAINED[spec]}


def test_a_later_choice_forgets_the_earlier_one(model: Any) -> None:
    unfreeze(model, ["bias"], train_batchnorm=True)
    unfreeze(model, ["all"])
    assert len(model.trainable_variables) == 10


def test_statistics_follow_only_when_asked(model: Any) -> None:
    unfreeze(model, ["head"], train_batchnorm=True)
    assert model.get_layer("bn1").trainable
    assert {v.path for v in model.trainable_variables} == {"head/kernel", "head/bias"}


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ("haed", "did you mean 'head'"),
        ("top:9", "only 5 layers with weights"),
        ("top:x", "not a number"),
        ("middle:4-9", "numbered 1 to 5"),
        ("middle:a", "not a range"),
        ("from:blok", "no layer 'blok'"),
        ("type:Dens", "did you mean 'Dense'"),
        ("relu1", "no weights"),
        ("block/conv9", "did you mean 'block/conv2'"),
    ],
)
def test_errors_name_the_spec_and_the_way_out(model: Any, spec: str, part: str) -> None:
    with pytest.raises(InputError) as error:
        unfreeze(model, [spec])
    assert spec in error.value.message
    assert part in error.value.format_message()


def test_copy_shares_nothing_and_keeps_flags(networks: Any) -> None:
    original = networks.classifier()
    unfreeze(original, ["bias"])
    copy = copy_model(original)
    assert [v.trainable for v in copy.weights] == [v.trainable for v in original.weights]
    before = networks.arrays_of(original)
    for variable in copy.weights:
        variable.assign(variable + 1)
    unfreeze(copy, ["all"])
    assert not networks.changed(before, networks.arrays_of(original))
    copy_flags(original, copy)
    assert [v.trainable for v in copy.weights] == [v.trainable for v in original.weights]
