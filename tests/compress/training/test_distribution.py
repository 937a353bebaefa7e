"""Training on two devices and on two worker processes over loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepress import compress
from edgepress.compress.errors import InputError

_CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
mode, state, out = sys.argv[2:5]
from edgepress.compress.kernel import lean_keras

lean_keras.load()
import tensorflow as tf
if mode == "mirrored":
    processor = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(processor, two)
if mode == "multi-worker":
    from edgepress.compress.training import join_workers
    join_workers()
import keras, numpy as np, networks
from edgepress import compress

keras.utils.set_random_seed(0)
if sys.argv[5] == "plain":
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
else:
    model = networks.classifier()
result = compress.finetune(
    model, networks.classes(97), epochs=3, batch_size=16, lr=1e-2, clipnorm=0.1, ema=0.9,
    distribute=mode, state_dir=Path(state) if state else None,
)
np.savez(out, *[w.numpy() for w in result.model.weights])
print("loss", result.history.epochs["loss"], flush=True)
"""


def start(
    mode: str, network: str, out: Path, state: str = "", **more: str
) -> subprocess.Popen[str]:
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", _CHILD, here, mode, state, str(out), network]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **more},
    )


def weights(out: Path) -> list[Any]:
    with np.load(out) as archive:
        return [archive[name] for name in archive.files]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def run_workers(network: str, folder: Path, state: str = "") -> list[list[Any]]:
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    children = []
    for index in range(2):
        place = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        out = folder / f"worker{index}.npz"
        children.append(start("multi-worker", network, out, state, TF_CONFIG=json.dumps(place)))
    for child in children:
        _, errors = child.communicate(timeout=240)
        assert child.returncode == 0, errors[-2000:]
    return [weights(folder / f"worker{index}.npz") for index in range(2)]


def run_alone(mode: str, folder: Path) -> list[Any]:
    """The weights of a training in one process."""
    out = folder / f"{mode}.npz"
    child = start(mode, "plain", out)
    _, errors = child.communicate(timeout=240)
    assert child.returncode == 0, errors[-2000:]
    return weights(out)


def test_shares_of_a_batch_add_up_to_the_batch(tmp_path: Path) -> None:
    """One device and two make the same steps, the last, uneven batch too."""
    alone, two = (run_alone(mode, tmp_path) for mode in ("none", "mirrored"))
    for a, b in zip(alone, two, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.slow
def test_shares_of_workers_add_up_to_the_batch(tmp_path: Path) -> None:
    alone = run_alone("none", tmp_path)
    for other in run_workers("plain", tmp_path):
        for a, b in zip(alone, other, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.slow
def test_workers_end_with_the_same_statistics(tmp_path: Path) -> None:
    """Batch normalisation sees other samples on each worker, and yet is one model."""
    first, second = run_workers("norm", tmp_path)
    for a, b in zip(first, second, strict=True):
        assert a.tobytes() == b.tobytes()


def test_what_does_not_go_together_is_refused(networks: Any, monkeypatch: Any) -> None:
    model, data = networks.seeded(networks.classifier), networks.classes()
    monkeypatch.delenv("TF_CONFIG", raising=False)
    for options, words in (
        ({"distribute": "multi-worker"}, "needs the variable TF_CONFIG"),
        ({"distribute": "mirrored", "accumulate": 2}, "accumulate does not go with"),
        ({"distribute": "mirrored", "lr_decay_per_block": 0.5}, "does not go with"),
    ):
        with pytest.raises(InputError, match=words):
            compress.finetune(model, data, epochs=1, **options)
