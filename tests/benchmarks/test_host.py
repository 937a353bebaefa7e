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
