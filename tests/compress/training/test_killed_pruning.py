"""Kills a pruning's recovery in another process at random moments and compares the weights."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

_CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import networks
from edgepress import compress
from edgepress.compress.models import fingerprint

model = networks.seeded(networks.classifier)
print("ready", flush=True)
result = compress.prune(
    model, networks.classes(400), structure=sys.argv[3], sparsity=0.5, recover_epochs=12,
    recover_batch_size=16, recover_lr=1e-2, seed=2, state_dir=Path(sys.argv[2]),
)
print("weights", fingerprint(result.model), flush=True)
"""


def prune(state: Path, structure: str, kill_after: float | None = None) -> tuple[float, str]:
    """Seconds from the start of the work, and the weights' fingerprint if it came to its end."""
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", _CHILD, here, str(state), structure]
    began = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("ready"):
                began = time.monotonic()
                if kill_after is not None:
                    threading.Timer(kill_after, child.kill).start()
            if line.startswith("weights"):
                return time.monotonic() - began, line.split()[1]
    return time.monotonic() - began, ""


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["channels", "weights"])
def test_twenty_kills_of_a_pruning(structure: str, tmp_path: Path) -> None:
    seconds, straight = prune(tmp_path / "straight", structure)
    assert straight
    chance = random.Random(11)
    killed = 0
    number = 0
    while killed < 10:
        state = tmp_path / str(number)
        number += 1
        _, weights = prune(state, structure, chance.uniform(0.3, 0.95) * seconds)
        killed += not weights
        _, weights = (0.0, weights) if weights else prune(state, structure)
        assert weights == straight
        assert not [p for p in state.rglob(".*") if p.is_file()]
