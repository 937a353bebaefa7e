"""Pruning to what files and this machine show: the real converter, runtime and clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgepress import deploy
from edgepress.benchmarks.operators.layer_times import LayerClock
from edgepress.benchmarks.target import Job, RunOptions
from edgepress.benchmarks.tflite.arena import plan_arena
from edgepress.benchmarks.tflite.graph import read_graph
from edgepress.benchmarks.tflite.layer_file import write_layer
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.files import zstd_size
from edgepress.compress.kernel.progress import Silent
from edgepress.compress.structure.budgets.layer_size import LayerSize
from edgepress.compress.structure.budgets.sized_layers import sized
from edgepress.compress.structure.tracing.trace import trace
from edgepress.deploy.benchmarking.measurers import clocked_target, latency_folder
from edgepress.deploy.exporting.export import convert
from edgepress.deploy.exporting.workspace import converted
from edgepress.deploy.targets.local import LocalTarget

L = keras.layers


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    i = keras.Input((16, 16, 3))
    x = L.Conv2D(32, 3, padding="same", name="stem")(i)
    x = L.ReLU()(L.BatchNormalization()(x))
    x = L.Conv2D(48, 3, strides=2, activation="relu", name="wide")(x)
    return keras.Model(i, L.Dense(5, name="out")(L.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize(
    ("what", "precision"),
    [
        ("size", "float32"),
        ("arena", "int8"),
        pytest.param("size", "int8", marks=pytest.mark.slow),
        pytest.param("arena", "float32", marks=pytest.mark.slow),
    ],
)
def test_the_written_file_is_within_the_target(
    what: str, precision: str, worker: Any, tmp_path: Path
) -> None:
    model = network()
    options = {"structure": "channels", f"target_{what}": 0.5, "target_precision": precision}
    result = deploy.prune(model, **options)
    values = {}
    for name, each in {"before": model, "after": result.model}.items():
        path = tmp_path / f"{name}.tflite"
        with converted(each, path, "tflite", precision, worker):
            values[name] = path.stat().st_size if what == "size" else plan_arena(path).arena_bytes
    assert 0.4 * values["before"] <= values["after"] <= 0.5 * values["before"]
    (account,) = result.measured
    assert (account.before, account.after) == (values["before"], values["after"])


@pytest.mark.slow
def test_c_sources_that_are_published_keep_the_target(tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(64, 16, 16, 3)).astype("f4")
    for number, target in enumerate(({"target_arena": "10KiB"}, {"target_size": "12kB"})):
        options = {**target, "target_format": "c", "target_precision": "int8"}
        result = deploy.prune(network(), structure="channels", **options)
        (account,) = result.measured
        assert account.before > account.limit >= account.after
        files = deploy.export(
            result.model,
            tmp_path / str(number),
            formats=["c"],
            quantize=["int8"],
            data=(images, np.zeros((64, 5), "f4")),
        )
        shipped = files[0].arena_bytes if "target_arena" in target else files[0].bytes
        assert shipped <= account.limit


@pytest.mark.parametrize(
    "options",
    [
        {"target_macs": 0.5, "target_precision": "int8"},
        {"target_params": 0.5, "target_format": "c"},
        {"target_size": 0.5, "target_format": "c", "target_precision": "dynamic"},
    ],
)
def test_a_file_is_named_only_where_one_is_measured(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"target_(format|precision)"):
        deploy.prune(network(), structure="channels", **options)


def test_the_written_file_packs_within_the_target(worker: Any, tmp_path: Path) -> None:
    model = network()
    result = deploy.prune(model, structure="weights", target_size=0.5, packing="zstd")
    packed = []
    for number, each in enumerate((model, result.model)):
        path = tmp_path / f"{number}.tflite"
        assert not convert(each, path, worker=worker)
        packed.append(zstd_size(path))
    assert 0.45 * packed[0] <= packed[1] <= 0.5 * packed[0]
    (account,) = result.measured
    assert (account.before, account.after) == tuple(packed)


def test_latency_is_measured_layer_by_layer_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options = {"structure": "channels", "target_macs": 0.5, "device": "local"}
    first = deploy.prune(network(), **options)
    (latency,) = first.measured
    assert (latency.what, latency.device, latency.limit) == ("latency", "local", None)
    assert 0 < latency.predicted <= latency.before
    assert latency.plain_predicted is not None
    assert first.after.macs <= 0.5 * first.before.macs
    (kept,) = latency_folder().iterdir()
    written = kept.stat().st_mtime_ns
    again = deploy.prune(network(), **options)
    assert [f.stat().st_mtime_ns for f in latency_folder().iterdir()] == [written]
    assert again.removed == first.removed


def test_times_that_are_known_are_not_measured_again(tmp_path: Path) -> None:
    sizes = [
        LayerSize("conv", (8, 8), (3, 3), (2, 2), (1, 1), True, 4, 8),
        LayerSize("depthwise", (8, 8), (3, 3), (1, 1), (1, 1), True, 8, 1),
        LayerSize("dense", (1, 1), (1, 1), (1, 1), (1, 1), False, 16, 4),
    ]
    clock = LayerClock(LocalTarget(), RunOptions(), tmp_path, Silent())
    first = clock.times(sizes)
    assert set(first) == set(sizes)
    assert all(v > 0 for v in first.values())
    assert clock.times([*sizes, sizes[0]]) == first
    (file,) = tmp_path.iterdir()
    file.write_text('{"ms": {"a layer": "long"}}')
    assert clock.times(sizes[1:])[sizes[1]] > 0  # measured again
    two = LayerClock(LocalTarget(), RunOptions(threads=2), tmp_path, Silent())
    two.times(sizes[:1])
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "layer",
    [
        L.Conv2D(8, 3, strides=2, padding="same"),
        L.Conv2D(8, (3, 2), dilation_rate=2),
        L.Conv2D(8, 5, strides=3),
        L.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
        L.SeparableConv2D(8, 3, strides=2),
        L.Dense(7),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_layers_file_has_the_layers_shapes_and_runs(layer: keras.Layer, tmp_path: Path) -> None:
    layer = type(layer).from_config(layer.get_config())
    i = keras.Input((11, 12, 6))
    made = layer(i)
    kernels = [s for v in trace(keras.Model(i, made)).visits for s in sized(v.call)]
    shape = (1, 11, 12, 6)
    for number, kernel in enumerate(kernels):
        path = write_layer(kernel.size, tmp_path / f"{number}.tflite")
        graph = read_graph(path)
        if kernel.size.kind != "dense":
            assert graph.tensors[0].shape == shape
        shape = graph.tensors[3].shape
        with LocalTarget().open(path, RunOptions()) as session:
            assert session.run(Job(2)).n == 2
    expected = (11 * 12, 7) if isinstance(layer, L.Dense) else (1, *made.shape[1:])
    assert shape == expected


def test_a_device_without_a_clock_is_refused() -> None:
    with pytest.raises(InputError, match=r"no latency of single layers.*'mcu:/dev/ttyACM0'"):
        clocked_target("mcu:/dev/ttyACM0")
    with pytest.raises(InputError, match="unknown device 'pi0'"):
        deploy.prune(network(), structure="channels", target_latency=0.5, device="pi0")
