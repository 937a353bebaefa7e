"""Kills a training in another process at random steps and compares the weights, bit for bit."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

_CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from edgepress.compress.kernel import lean_keras

lean_keras.load()
import keras, networks
from edgepress.compress.data import open_data
from edgepress.compress.training import fit
from edgepress.compress.models import fingerprint
from edgepress.compress.specs.recipe import TrainSpec

class Tell(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        print("step", flush=True)

model = networks.seeded(networks.classifier)
spec = TrainSpec(epochs=4, batch_size=16, lr=1e-2, schedule=sys.argv[3], warmup=0.5)
data = open_data(networks.classes(), model)
fit(model, data, spec, seed=3, state_dir=sys.argv[2] or None, callbacks=[Tell()])
print("weights", fingerprint(model), flush=True)
"""


def train(state: str, schedule: str, kill_after: int | None = None) -> tuple[int, str]:
    """Steps that a child process did, and its weights' fingerprint if it came to its end."""
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", _CHILD, here, state, schedule]
    steps = 0
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("weights"):
                return steps, line.split()[1]
            steps += line.startswith("step")
            if steps == kill_after:
                child.kill()
    return steps, ""


def killed_and_resumed(state: Path, schedule: str, kills: int, total: int) -> tuple[int, str]:
    """Steps after the last kill, and the weights' fingerprint."""
    chance = random.Random(state.name)
    for _ in range(kills):
        steps, weights = train(str(state), schedule, chance.randint(total // 4 + 1, total // 2))
        if weights:
            return steps, weights
    return train(str(state), schedule)


@pytest.mark.slow
def test_a_killed_training_ends_in_the_same_weights(tmp_path: Path) -> None:
    total, straight = train("", "plateau")
    assert total == 4 * 5
    assert straight
    steps, weights = killed_and_resumed(tmp_path, "plateau", kills=1, total=total)
    assert steps < total
    assert weights == straight


@pytest.mark.slow
def test_twenty_kills(tmp_path: Path) -> None:
    _, straight = train("", "cosine")
    for i in range(10):
        assert killed_and_resumed(tmp_path / str(i), "cosine", kills=2, total=20)[1] == straight
