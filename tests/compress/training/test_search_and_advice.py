from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepress import compress
from edgepress.compress.errors import InputError
from edgepress.compress.training import advise, unfreeze_search
from edgepress.compress.training.diagnosis import diagnose
from edgepress.compress.training.progressive import draw_search

OPTIONS = {"epochs": 2, "batch_size": 16, "lr": 1e-2}


@pytest.fixture(scope="module")
def model(networks: Any) -> Any:
    return networks.seeded(networks.classifier)


def test_search_goes_deeper_and_keeps_the_best(networks: Any, model: Any, tmp_path: Path) -> None:
    before = networks.arrays_of(model)
    found = unfreeze_search(model, networks.classes(), **OPTIONS)
    depths = [step.unfrozen for step in found.steps]
    assert depths[0] == ("head",)
    assert all(set(a) < set(b) for a, b in itertools.pairwise(depths))
    assert found.best.value == max(step.value for step in found.steps)
    assert found.after == pytest.approx(found.best.value, abs=1e-6)
    assert not networks.changed(before, networks.arrays_of(model))
    assert len(found.model.trainable_variables) == len(model.trainable_variables)
    assert found.to_json()["best"] == found.best.name
    assert draw_search(found, tmp_path / "search.png").stat().st_size > 1000


@pytest.mark.slow
def test_strategies_side_by_side(networks: Any, model: Any) -> None:
    found = unfreeze_search(model, networks.classes(), strategies="top,all", **OPTIONS)
    assert [step.name for step in found.steps] == ["top", "all"]
    assert found.steps[0].trainable_params < found.steps[1].trainable_params
    with pytest.raises(InputError, match="strategy 'tip'"):
        unfreeze_search(model, networks.classes(), strategies="tip", **OPTIONS)


def test_advice_can_be_followed(networks: Any, model: Any) -> None:
    data = networks.classes(240)
    trained = compress.finetune(model, data, epochs=8, batch_size=16, lr=1e-2).model
    advice = advise(trained, data)
    assert advice.samples_per_class == pytest.approx(64)
    assert advice.probe is not None
    assert advice.probe.trained > 0.9
    assert advice.similarity == "similar"
    assert all(line.reason for line in advice.lines)
    result = compress.finetune(trained, data, **{**advice.recipe, "epochs": 1})
    assert result.unfrozen


@pytest.mark.parametrize(("similarity", "layers"), [("similar", 1), ("different", 3)])
def test_a_different_task_unfreezes_more(
    networks: Any, model: Any, similarity: Any, layers: int
) -> None:
    advice = advise(model, networks.classes(), similarity=similarity)
    result = compress.finetune(model, networks.classes(), **{**advice.recipe, "epochs": 0})
    assert len(result.unfrozen) == layers
    assert advice.to_json()["probe"] is None


def test_advice_for_images_of_values(networks: Any) -> None:
    advice = advise(networks.encoder_decoder(), networks.noisy_images())
    assert advice.probe is not None
    assert 0 <= advice.probe.random <= 1


CURVES = {
    "diverging": ({"loss": [1.0, 0.8, 1.5, 2.5, 4.0]}, 3),
    "oscillating": ({"loss": [1.0, 0.5, 0.9, 0.5, 0.9, 0.5, 0.8]}, 3),
    "overfitting": (
        {"loss": [1.0, 0.7, 0.5, 0.3, 0.2, 0.1], "val_loss": [1.0, 0.8, 0.7, 0.8, 0.9, 1.1]},
        4,
    ),
    "too slow": ({"loss": [1.0, 0.995, 0.99, 0.986, 0.981]}, 1),
}


@pytest.mark.parametrize("finding", CURVES)
def test_findings(finding: str) -> None:
    columns, epoch = CURVES[finding]
    found = diagnose({**columns, "lr": [0.1]})
    assert [(d.finding, d.epoch) for d in found] == [(finding, epoch)]
    assert found[0].advice


def test_a_healthy_training_has_no_findings() -> None:
    loss = list(np.exp(-np.arange(10) / 3))
    assert diagnose({"loss": loss, "val_loss": [v + 0.1 for v in loss], "lr": [0.1]}) == ()
    assert diagnose({"loss": loss[:2], "lr": [0.1]}) == ()
    assert diagnose({"loss": loss, "lr": [0.1]}, "the loss became NaN")[0].finding == "diverging"
