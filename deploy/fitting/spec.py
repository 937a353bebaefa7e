"""What a fit is asked for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from edgepress.compress.errors import InputError
from edgepress.compress.specs.training import Drop
from edgepress.deploy.recipe import Recipe
from edgepress.deploy.searching.limits import LimitsSpec, refuse_ram_elsewhere
from edgepress.deploy.searching.objectives import OBJECTIVES
from edgepress.deploy.specs.notation import Words


class FitSpec(LimitsSpec):
    """What is minimised, and what has to be kept.

    Attributes:
        max_drop: Largest fall of the metric from the given model: points of a score as a share of
            1, or the share by which an error grows.
        minimise: latency, bytes, gzip_bytes, ram (the arena for activations), memory (the
            process's peak), energy (where the device counts it), macs or params of the exported
            file.
        format: File format.
        quantize: Precisions to choose from; all that need no training by default.
    """

    max_drop: Drop = Field(0.01, ge=0)
    minimise: str = "latency"
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
        refuse_ram_elsewhere(self.format, (self.minimise, *self.limits))
        return self


class FitRecipe(Recipe):
    """A recipe without steps, for which a fit finds them.

    Attributes:
        fit: What is minimised and kept.
    """

    fit: FitSpec = Field(default_factory=FitSpec)
