"""Which file is which, wherever it lies."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepress.benchmarks.gate.identity import FileKey, document_keys, pair_files
from edgepress.compress.errors import InputError


def keys(*paths: str) -> list[FileKey]:
    return [FileKey("", path) for path in paths]


def pairs(old: list[FileKey], new: list[FileKey]) -> dict[str, str]:
    return {n.shown: o.shown for n, o in pair_files(old, new).items()}


steps = st.sampled_from(["a", "b", "v1", "v2"])
paths = st.lists(steps, min_size=1, max_size=3).map(lambda s: "/".join([*s, "m.tflite"]))


@given(st.lists(paths, min_size=1, max_size=5, unique=True), st.integers(0, 120))
def test_files_that_stay_keep_their_figures_in_every_order(names: list[str], way: int) -> None:
    order = next(itertools.islice(itertools.cycle(itertools.permutations(names)), way, None))
    assert pairs(keys(*names), keys(*order)) == {name: name for name in names}


@given(st.lists(paths, min_size=1, max_size=4, unique=True))
def test_another_root_never_swaps_files(names: list[str]) -> None:
    old, new = (keys(*(f"{root}/{n}" for n in names)) for root in ("/home/me/net", "/ci/17/work"))
    found = pairs(old, new)
    assert len(found) == len(names)
    for n, o in found.items():
        assert n.removeprefix("/ci/17/work") == o.removeprefix("/home/me/net")


def test_a_checkout_elsewhere_is_recognised() -> None:
    old = keys("/home/me/v1/m.tflite", "/home/me/v2/m.tflite", "/home/me/v3/m.tflite")
    for order in itertools.permutations(("v1", "v2", "v3")):
        new = keys(*(f"/ci/work/{v}/m.tflite" for v in order))
        assert pairs(old, new) == {f"/ci/work/{v}/m.tflite": f"/home/me/{v}/m.tflite"
                                   for v in order}  # fmt: skip
    relative = keys("v1/m.tflite", "./v2/../v2/m.tflite")
    assert pairs(relative, keys("/ci/v2/m.tflite")) == {"/ci/v2/m.tflite": "./v2/../v2/m.tflite"}


def test_one_file_of_a_name_is_the_same_in_another_folder() -> None:
    assert pairs(keys("v1/m.tflite", "v1/n.tflite"), keys("v2/m.tflite")) == {
        "v2/m.tflite": "v1/m.tflite"
    }
    assert pairs(keys("v1/m.tflite"), keys("v1/n.tflite")) == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["v1/m.tflite", "v2/m.tflite"], ["v3/m.tflite"]),
        (["v1/m.tflite"], ["v2/m.tflite", "v3/m.tflite"]),
        (["a/v1/m.tflite", "b/v1/m.tflite"], ["c/v1/m.tflite"]),
        (["a/v1/m.tflite", "b/v1/m.tflite"], ["m.tflite"]),
        (["v1/m.tflite", "v2/m.tflite"], ["v3/m.tflite", "v4/m.tflite"]),
    ],
)
def test_what_may_be_several_is_refused_with_the_way_out(old: list[str], new: list[str]) -> None:
    with pytest.raises(InputError, match=r"may be .* or ") as refused:
        pair_files(keys(*old), keys(*new))
    assert "--name" in refused.value.hint
    named = [FileKey(f"mine{i}", path) for i, path in enumerate(new)]
    assert pair_files(keys(*old), named) == {}
    first = FileKey(old[0], new[0])
    assert pair_files(keys(*old), [first]) == {first: keys(old[0])[0]}


def test_a_new_file_beside_known_ones_takes_nobodys_figures() -> None:
    old = keys("v1/m.tflite", "v2/m.tflite")
    assert pairs(old, keys("v2/m.tflite", "v3/m.tflite")) == {"v2/m.tflite": "v2/m.tflite"}
    assert pairs(keys("v1/m.tflite"), keys("v1/m.tflite", "v2/m.tflite")) == {
        "v1/m.tflite": "v1/m.tflite"
    }


def test_names_go_before_paths() -> None:
    old = [FileKey("main", "v1/m.tflite"), FileKey("small", "v2/m.tflite")]
    new = [FileKey("small", "v1/m.tflite"), FileKey("main", "v2/m.tflite")]
    assert pairs(old, new) == {"small": "small", "main": "main"}
    assert pairs(old, [FileKey("other", "v1/m.tflite")]) == {}
    assert pairs(old, keys("v1/m.tflite")) == {"v1/m.tflite": "main"}


def test_rows_of_earlier_versions_are_known_by_their_path() -> None:
    rows = [
        {"artifact": "v1/m.tflite (2 threads) (batch 8)"},
        {"artifact": "v1/m.tflite (1 thread)"},
    ]
    assert document_keys({"rows": rows}) == keys("v1/m.tflite")
    asked = {"rows": [], "files": [{"name": None, "file": "m.tflite"}], "directory": "/work"}
    assert document_keys(asked) == keys("/work/m.tflite")
