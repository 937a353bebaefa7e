"""Recovery on inputs alone: a teacher's answers take the place of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgepress import compress
from edgepress.compress.data import open_data
from edgepress.compress.errors import InputError


@pytest.fixture(scope="module")
def teacher(networks: Any) -> Any:
    model = networks.seeded(networks.classifier)
    return compress.finetune(model, networks.classes(200), epochs=8, lr=1e-2).model


def test_pruning_recovers_without_labels(networks: Any, teacher: Any, tmp_path: Path) -> None:
    """Inputs alone bring the pruned model back to its teacher, which labels measure."""
    file = tmp_path / "inputs.npz"
    test = networks.classes(200, seed=4)
    x = networks.classes(200, seed=3)["x"]
    np.savez(file, x_train=x, x_test=test["x"], y_test=test["y"])
    options: dict[str, Any] = {"structure": "channels", "sparsity": 0.5, "repair": False}
    data = {"spec": str(file), "unlabelled": True}
    cut = compress.prune(teacher, compress.DataSpec(**data), **options)
    recovered = compress.prune(
        teacher, compress.DataSpec(**data), recover_epochs=8, recover_lr=1e-2, **options
    )
    assert recovered.after.value is not None
    assert cut.after.value is not None
    assert recovered.after.value > cut.after.value
    # Labels count only where the figure comes from: the same as measured on labelled data.
    arrays = {"x": x, "y": np.zeros(len(x), np.int64), "x_test": test["x"], "y_test": test["y"]}
    same = open_data(arrays, teacher)
    labelled = compress.data.evaluate(teacher, same.report_split, same.task)
    assert recovered.before.value == pytest.approx(labelled)


def test_labels_change_nothing(networks: Any, teacher: Any) -> None:
    """The same weights with right labels, wrong ones and none."""
    arrays = networks.classes()
    student = networks.seeded(networks.classifier)
    weights = []
    for data in (arrays, {**arrays, "y": arrays["y"][::-1].copy()}, {"x": arrays["x"]}):
        spec = compress.DataSpec(spec=data, unlabelled=True)
        tuned = compress.finetune(student, spec, teacher=teacher, epochs=2)
        weights.append([w.numpy().tobytes() for w in tuned.model.weights])
        assert 0 <= tuned.history.after <= 1
    assert weights[0] == weights[1] == weights[2]


@pytest.mark.slow
def test_images_are_matched(networks: Any) -> None:
    """Image to image: the student comes closer to its teacher's images."""
    teacher = networks.seeded(networks.encoder_decoder)
    keras.utils.set_random_seed(9)
    student = networks.encoder_decoder()
    spec = compress.DataSpec(spec={"x": networks.noisy_images()["data_input"]}, unlabelled=True)
    tuned = compress.finetune(student, spec, teacher=teacher, epochs=6, lr=1e-2, batch_size=16)
    assert tuned.history.metric == "mae"
    assert tuned.history.after < tuned.history.before


def test_without_a_teacher_there_is_nothing_to_learn(networks: Any, teacher: Any) -> None:
    spec = compress.DataSpec(spec={"x": networks.classes()["x"]}, unlabelled=True)
    with pytest.raises(InputError, match="only a teacher to learn from"):
        compress.finetune(teacher, spec, epochs=1)
    with pytest.raises(InputError, match="only a teacher to learn from"):
        compress.prune(teacher, spec, sparsity=0.5, recover_epochs=1, distill=False)
    with pytest.raises(InputError, match="no array 'y'"):
        compress.finetune(teacher, {"x": networks.classes()["x"]}, epochs=1)
