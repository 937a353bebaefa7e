"""What a fit is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from edgepress.compress.errors import InputError
from edgepress.compress.specs.prune_parts import Share
from edgepress.compress.specs.recipe import Spec
from edgepress.compress.specs.training import Drop, Latency
from edgepress.deploy.recipe import Recipe
from edgepress.deploy.searching.objectives import OBJECTIVES
from edgepress.deploy.specs.notation import Words


class FitSpec(Spec):
    """What is minimised, and what has to be kept.

    Attributes:
        max_drop: Largest fall of the metric from the given model: points of a score as a share of
            1, or the share by which an error grows.
        minimise: latency, bytes, gzip_bytes, ram (the arena for activations), memory (the
            process's peak), energy (where the device counts it), macs or params of the exported
            file.
        max_ram: Most RAM for activations (the arena of a TFLite file), in bytes as 64kB, or as a
            share (50%) of what the given model's float file needs.
        max_bytes: Largest file, in bytes as 64kB, or as a share of the given model's float file.
        max_latency: Longest time of an inference on the device, as 20ms, or as a share of the given
            model's float file.
        format: File format.
        quantize: Precisions to choose from; all that need no training by default.
    """

    max_drop: Drop = Field(0.01, ge=0)
    minimise: str = "latency"
    max_ram: Share = None
    max_bytes: Share = None
    max_latency: Latency | None = None
    format: Literal["tflite", "onnx"] = "tflite"
    quantize: Words = ()

    @model_validator(mode="after")
    def _names_a_size(self) -> FitSpec:
        try:
            objective = OBJECTIVES[self.minimise]
        except InputError as error:
            raise ValueError(error.format_message()) from None
        if objective.smaller is not True:
            raise ValueError(f"{self.minimise} is what a fit keeps; minimise latency or bytes")
        if self.format != "tflite" and "ram" in (self.minimise, *self.limits):
            raise ValueError(
                "ram is that of TFLite files, whose arena is planned; ONNX files have memory"
            )
        return self

    @property
    def limits(self) -> Mapping[str, float | str]:
        """What may not be exceeded as it was asked for, by objective."""
        asked = {"ram": self.max_ram, "bytes": self.max_bytes, "latency": self.max_latency}
        return {name: most for name, most in asked.items() if most is not None}


class FitRecipe(Recipe):
    """A recipe without steps, for which a fit finds them.

    Attributes:
        fit: What is minimised and kept.
    """

    fit: FitSpec = Field(default_factory=FitSpec)
