"""Options that several kinds of pruning steps have, each with its rules; see `pruning`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from edgepress.compress.specs.amounts import parse_amount
from edgepress.compress.specs.prune_step import TARGETS, PruneSpec

# A share up to 1, or a number of what is counted, as 0.5, 50%, 64kB or 2M.
Share = Annotated[
    float | None,
    Field(gt=0),
    BeforeValidator(parse_amount, json_schema_input_type=float | str | None),
]
Removed = Annotated[float | None, Field(gt=0, lt=1)]


class PackedSpec(PruneSpec):
    """A step that leaves a file as long as it was, but lets it pack smaller.

    Attributes:
        target_size: Bytes kept of the float32 TFLite file, as a share or a number; measured on the
            file itself, whatever precisions are exported later. For unstructured pruning those of
            the packed file, since zeros and shared values leave its length as it is.
        packing: What packs that file: "gzip" (level 9) or "zstd" (level 12).
    """

    target_size: Share = None
    packing: Literal["gzip", "zstd"] = "gzip"

    # What a target in bytes finds.
    found: ClassVar[str] = ""

    @model_validator(mode="after")
    def _packed_target(self) -> Self:
        if self.asked("packing") and not self.target_size:
            raise ValueError("packing is for target_size of unstructured pruning")
        if self.target_size and self.found and self.asked(self.found):
            raise ValueError(f"target_size finds {self.found}: give one of the two")
        return self

    def _released(self) -> dict[str, bool]:
        # Steps that set weights to zero or cluster them keep clusters by their own means.
        return {"release_clusters": True}


class RampSpec(PruneSpec):
    """A step that may go along a schedule, during the training.

    Attributes:
        schedule: "one-shot" (after training), "iterative", or during training "constant" and
            "polynomial": weights are set to zero along the schedule; channels that will go shrink
            under a penalty along it, then are removed. "moving" sets weights to zero at once, then
            exchanges weak ones for those of strong gradient every `frequency` steps.
        begin_step: First training step at which masks are updated, or channels shrink.
        end_step: Step at which a polynomial schedule reaches `sparsity` (or `penalty`); by default
            three quarters of the training.
        power: Exponent of the polynomial.
    """

    schedule: str = "one-shot"
    begin_step: int = Field(0, ge=0)
    end_step: int | None = Field(None, ge=1)
    power: float = Field(3.0, gt=0)

    @model_validator(mode="after")
    def _along_a_schedule(self) -> Self:
        for name in ("initial_sparsity", "begin_step", "end_step", "frequency", "power"):
            if self.asked(name) and self.schedule == "one-shot":
                raise ValueError(f"{name} is for pruning along a schedule, not one-shot")
        return self


class RemovalSpec(PruneSpec):
    """A step that ranks something and removes what ranks lowest, until a target is reached.

    Attributes:
        sparsity: Share removed: of weights for unstructured, of channels for structured pruning.
        target_params: Parameters to keep, as a share or a number; for unstructured pruning the
            nonzero ones.
        criterion: Importance criterion. "auto", the default for channels and layers, is
            "taylor" with data and "l1" without; the default for weights is "l1".
        steps: Rounds of an iterative pruning, with recovery between.
        calibration_samples: Samples for data-driven criteria and repair.
    """

    sparsity: Removed = None
    criterion: str = "l1"
    steps: int = Field(1, ge=1)
    calibration_samples: int = Field(512, ge=1)

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        names = [n for n in TARGETS if n in type(self).model_fields]
        given = [n for n in names if getattr(self, n)]
        if len(given) != 1 and not (not given and self._aims_otherwise()):
            raise ValueError(f"give exactly one of {', '.join(names)}")
        return self

    def _aims_otherwise(self) -> bool:
        """Whether something else than a target says how much goes."""
        return False
