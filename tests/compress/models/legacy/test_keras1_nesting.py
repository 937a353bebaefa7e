"""Keras 1 models inside models: weights listed part by part, branches that merge branches."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from edgepress.compress.models import load
from edgepress.compress.models.legacy.assembly.building import Builder

RANDOM = np.random.default_rng(0)
SIZES = {"a": (2, 3), "b": (2, 3), "c": (2, 3), "join": (9, 1), "one": (4, 3), "two": (3, 2)}
ARRAYS = {n: (RANDOM.normal(size=s), RANDOM.normal(size=s[1])) for n, s in SIZES.items()}


def _dense(name: str) -> dict[str, Any]:
    inputs, units = SIZES[name]
    sizes = {"output_dim": units, "input_dim": inputs, "batch_input_shape": [None, inputs]}
    other = {"activation": "linear", "init": "uniform", "bias": True}
    return {"class_name": "Dense", "config": {"name": name, **sizes, **other}}


def _chain(*layers: Any) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": list(layers)}


def _merge(name: str, *branches: Any) -> dict[str, Any]:
    config = {"name": name, "mode": "concat", "concat_axis": 1, "layers": list(branches)}
    return {"class_name": "Merge", "config": config}


def _write(path: Path, model: dict[str, Any], groups: dict[str, dict[str, np.ndarray]]) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"1.2.2"
        file.attrs["model_config"] = json.dumps(model).encode()
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [name.encode() for name in groups]
        for name, arrays in groups.items():
            group = weights.create_group(name)
            group.attrs["weight_names"] = [key.encode() for key in arrays]
            for key, array in arrays.items():
                group[key] = array
    return path


def _groups(*names: str) -> dict[str, dict[str, np.ndarray]]:
    return {
        n: {f"{n}_{k}:0": array for k, array in zip("Wb", ARRAYS[n], strict=True)} for n in names
    }


def _apply(name: str, x: np.ndarray) -> np.ndarray:
    kernel, bias = ARRAYS[name]
    return x @ kernel + bias


def test_a_merge_of_merges(tmp_path: Path) -> None:
    inner = _chain(_merge("m1", _chain(_dense("a")), _chain(_dense("b"))))
    outer = _chain(_merge("m2", inner, _chain(_dense("c"))), _dense("join"))
    model = load(_write(tmp_path / "k1.h5", outer, _groups("a", "b", "c", "join")))
    x, y, z = (RANDOM.normal(size=(4, 2)) for _ in range(3))
    joined = np.concatenate([_apply("a", x), _apply("b", y), _apply("c", z)], axis=1)
    wanted = _apply("join", joined)
    np.testing.assert_allclose(np.asarray(model([x, y, z])), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2])
def test_parts_of_a_nested_chain_have_their_own_weights(tmp_path: Path, depth: int) -> None:
    inner = _chain(_dense("one"))
    for _ in range(depth - 1):
        inner = _chain(inner)
    path = _write(tmp_path / "k1.h5", _chain(inner, _dense("two")), _groups("one", "two"))
    x = RANDOM.normal(size=(5, 4))
    wanted = _apply("two", _apply("one", x))
    np.testing.assert_allclose(np.asarray(load(path)(x)), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("named", [True, False])
def test_a_chain_in_a_graph_has_all_its_weights_in_one_place(tmp_path: Path, named: bool) -> None:
    start = {"name": "x", "batch_input_shape": [None, 4], "input_dtype": "float32"}
    layers = [
        {"class_name": "InputLayer", "name": "x", "config": start, "inbound_nodes": []},
        {**_chain(_dense("one"), _dense("two")), "name": "s", "inbound_nodes": [[["x", 0, 0]]]},
    ]
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["s", 1, 0]]}
    config = {"name": "graph", "layers": layers, **ends}
    arrays = [a for group in _groups("one", "two").values() for a in group.items()]
    held = {key if named else f"param_{i}": value for i, (key, value) in enumerate(arrays)}
    path = _write(tmp_path / "k1.h5", {"class_name": "Model", "config": config}, {"s": held})
    x = RANDOM.normal(size=(5, 4))
    wanted = _apply("two", _apply("one", x))
    np.testing.assert_allclose(np.asarray(load(path)(x)), wanted, rtol=1e-4, atol=1e-5)


def test_what_is_known_by_its_id_stays_alive() -> None:
    inner = _chain(_merge("m1", _chain(_dense("a")), _chain(_dense("b"))))
    builder = Builder({}, old=True)
    builder.model(_chain(_merge("m2", inner, _chain(_dense("c"))), _dense("join")))
    gc.collect()
    alive = {id(thing) for thing in gc.get_objects() if isinstance(thing, keras.Model)}
    assert len(builder.members) == 5
    assert set(builder.members) <= alive
