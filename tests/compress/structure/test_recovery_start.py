"""A stopped recovery goes on from the very weights it began with, whatever rounds otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import quarters

from edgepress.compress.errors import InputError, Stopped
from edgepress.compress.kernel.progress import Silent
from edgepress.compress.pruning import prune
from edgepress.compress.structure import structured_run
from edgepress.compress.training.loop import checkpoints

OPTIONS: dict[str, Any] = {
    "structure": "channels", "target_macs": 0.5, "criterion": "l1", "recover_epochs": 3,
    "recover_batch_size": 50, "distill": False,
}  # fmt: skip


class _Interrupt(Silent):
    """Presses Ctrl-C in the second epoch."""

    def step(self, done: int, total: int, text: str = "") -> None:
        if text.startswith("epoch 2"):
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def model() -> Any:
    return quarters.network(3, "sigmoid")


@pytest.fixture(scope="module")
def images() -> Any:
    return quarters.images(200, 100, 0.8)


@pytest.fixture
def stopped(model: Any, images: Any, tmp_path: Path) -> Path:
    """The state of a pruning that was stopped in its recovery."""
    with pytest.raises(Stopped):
        prune(model, images, state_dir=tmp_path, progress=_Interrupt(), **OPTIONS)
    return tmp_path


@pytest.fixture
def rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repairs whose last bits are others, as with other kernels of TensorFlow."""
    exact = structured_run.repair

    def other(surgery: Any, *rest: Any) -> Any:
        found = exact(surgery, *rest)
        for weight in surgery.model.trainable_weights:
            weight.assign(weight * (1 + 1e-6))
        return found

    monkeypatch.setattr(structured_run, "repair", other)


@pytest.mark.usefixtures("rounding")
def test_the_repaired_weights_are_kept(model: Any, images: Any, stopped: Path) -> None:
    resumed = prune(model, images, state_dir=stopped, **OPTIONS)
    assert len(resumed.history["loss"]) == 3


def test_the_end_is_that_of_a_pruning_that_was_not_stopped(
    model: Any, images: Any, stopped: Path
) -> None:
    resumed = prune(model, images, state_dir=stopped, **OPTIONS)
    whole = prune(model, images, **OPTIONS)
    for one, other in zip(resumed.model.weights, whole.model.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.slow
def test_they_are_not_those_of_another_pruning(model: Any, images: Any, stopped: Path) -> None:
    with pytest.raises(InputError, match="another training"):
        prune(model, images, state_dir=stopped, **{**OPTIONS, "target_macs": 0.7})


@pytest.mark.slow
def test_after_a_crash_another_model_is_trained_again(
    model: Any, images: Any, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "crash_notes", lambda: ("the training crashed",))
    again = prune(model, images, state_dir=stopped, **{**OPTIONS, "target_macs": 0.7})
    assert len(again.history["loss"]) == 3
