"""What the machine says of itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from edgepress.benchmarks import host


def test_the_script_alone_prints_the_environment() -> None:
    done = subprocess.run(
        [sys.executable, "-P", host.__file__], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert told.keys() == host.read_environment().keys()
    assert told["cores"] == os.cpu_count()
    assert set(told["cpus"]) <= set(range(told["cores"]))


def test_energy_is_the_growth_of_all_counters() -> None:
    assert host.energy_between({"a": 10, "b": 5}, {"a": 30, "b": 6}) == 21
    assert host.energy_between({"a": 10}, {"a": 3}) is None  # the counter ran over
    assert host.energy_between({}, {}) is None
