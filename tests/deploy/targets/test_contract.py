"""What every kind of device promises."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import fields
from pathlib import Path

import pytest

from edgepress.benchmarks.target import RunOptions, Target
from edgepress.compress.errors import InputError
from edgepress.deploy.benchmarking.benchmark import benchmark
from edgepress.deploy.targets import TARGETS, target_for
from edgepress.deploy.targets.named import Named

URLS = {
    "local": "local",
    "ssh": "ssh://pi@host:22",
    "adb": "adb:SERIAL?benchmark_model={binary}",
    "mcu": "mcu:/dev/ttyS0",
    "mcu:tflm": "mcu:tflm",
    "mcu:ethos-u55-128": "mcu:ethos-u55-128",
    "openvino": "openvino",
}
NEEDS = {"ssh": "asyncssh", "mcu:tflm": "tflite_micro", "mcu:ethos-u55-128": "ethosu",
         "openvino": "openvino"}  # fmt: skip

# For each field of RunOptions that devices may honour, a value that isn't the default.
OTHERWISE = {
    "threads": 2, "batch": 3, "xnnpack": False, "delegates": ["lib.so"], "providers": ["X"],
    "cpus": [0], "profile": True,
}  # fmt: skip


def test_every_kind_is_here() -> None:
    assert {url.partition(":")[0] for url in URLS.values()} == {*TARGETS}
    assert OTHERWISE.keys() - {"profile"} == {f.name for f in fields(RunOptions)} - {"timeout"}


@pytest.fixture(params=URLS)
def target(request: pytest.FixtureRequest, binary: Path) -> Target:
    """One device of each kind, not contacted."""
    kind = request.param
    if kind == "adb" and not shutil.which("adb"):
        pytest.skip("adb is not installed")
    if kind in NEEDS and not importlib.util.find_spec(NEEDS[kind]):
        pytest.skip(f"{NEEDS[kind]} is not installed")
    return target_for(URLS[kind].format(binary=binary))


def test_a_device_says_what_it_is(target: Target) -> None:
    named = Named("mine", target)
    assert named.name == "mine"
    for name in ("timing_valid", "estimated", "on_this_machine", "gives_outputs"):
        assert isinstance(getattr(target, name), bool)
        assert getattr(named, name) == getattr(target, name)
    assert named.takes == target.takes
    assert target.takes <= OTHERWISE.keys()
    # What isn't measured on hardware has no times by operator to show either.
    assert "profile" not in target.takes or target.timing_valid
    target.close()


def test_what_a_device_does_not_take_it_refuses(target: Target, resnet_int8: Path) -> None:
    for name in OTHERWISE.keys() - target.takes - {"providers"}:
        with pytest.raises(InputError, match="has no effect on"):
            benchmark([resnet_int8], devices=[target], **{name: OTHERWISE[name]})
