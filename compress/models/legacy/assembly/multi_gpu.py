"""Models that were copied for several GPUs: each gets a slice of the batch, and all are joined.

`multi_gpu_model` of Keras 2, and the recipe that people used before it, cut the batch by a Lambda.
On one device the slices and their joining change nothing, so that the model inside is all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = dict[str, Any]
_SLICED_BY = ({"i", "parts"}, {"idx", "parts"})


def on_one_device(config: Mapping[str, Any]) -> Config | None:
    """The configuration without the slices and the joining; None where it isn't such a model.

    Args:
        config: `layers`, `input_layers` and `output_layers`.
    """
    specs = config["layers"]
    starts = [spec for spec in specs if spec["class_name"] == "InputLayer"]
    slices = {_name(s): s["inbound_nodes"][0][0] for s in specs if _slices(s)}
    joins = {_name(s): s["inbound_nodes"][0] for s in specs if _joins(s)}
    copied = [s for s in specs if s not in starts and _name(s) not in {*slices, *joins}]
    ends = [reference[0] for reference in config["output_layers"]]
    if not slices or len(copied) != 1 or any(end not in joins for end in ends):
        return None
    inner, calls = copied[0], copied[0]["inbound_nodes"]
    if any(part[0] != _name(inner) for parts in joins.values() for part in parts):
        return None
    if any(given[0] not in slices for call in calls for given in call):
        return None
    whole = [slices[given[0]] for given in calls[0]]
    return {
        **config,
        "layers": [*starts, {**inner, "inbound_nodes": [whole]}],
        "output_layers": [joins[end][0][:3] for end in ends],
    }


def _name(spec: Mapping[str, Any]) -> str:
    return str(spec["name"])


def _slices(spec: Mapping[str, Any]) -> bool:
    given = spec["config"] if spec["class_name"] == "Lambda" else {}
    return set(given.get("arguments") or {}) in _SLICED_BY


def _joins(spec: Mapping[str, Any]) -> bool:
    config = spec["config"]
    if spec["class_name"] == "Merge":
        return bool(config.get("mode") == "concat" and config.get("concat_axis") == 0)
    return bool(spec["class_name"] == "Concatenate" and config.get("axis") == 0)
