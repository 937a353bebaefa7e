"""A step written out with all its defaults, as a run's own recipe is, reads back as it was."""

from __future__ import annotations

from typing import Any

import pytest

from edgepress.compress.specs.recipe import PruneSpec

STEPS: list[dict[str, Any]] = [
    {"structure": "channels", "target_macs": 0.5},
    {"structure": "layers", "target_macs": 0.5},
    {"structure": "channels", "target_latency": 0.5, "device": "local", "threads": 2},
    {"structure": "channels", "sparsity": 0.5, "schedule": "constant", "penalty": 0.2},
    {"structure": "weights", "sparsity": 0.5},
    {"structure": "nm", "pattern": "2:4"},
    {"structure": "clusters", "clusters": 8},
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: str(step["structure"]))
def test_a_step_written_out_in_full_reads_back(step: dict[str, Any]) -> None:
    spec = PruneSpec.model_validate(step)
    assert PruneSpec.model_validate(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize("option", [{"clusters": 8}, {"threads": 2}, {"penalty": 0.2}])
def test_an_option_of_another_kind_of_step_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        PruneSpec.model_validate({"structure": "weights", "sparsity": 0.5, **option})
