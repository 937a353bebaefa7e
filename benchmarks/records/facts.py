"""What records tell of devices, layers, operators and data: typed, since pages compute with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from edgepress.benchmarks.records.base import Record, Several, Some


class DeviceFacts(Record):
    """What a device told of itself in one run.

    Attributes:
        name: As `--device` calls it.
        processor: The processor's name.
        cores: How many it has.
        system: Operating system.
        timing_valid: Whether its times are those of real hardware.
        smallest_difference: The smallest relative difference of times that it could see.
        warnings: What was wrong with it at that time.
    """

    name: str | None = None
    processor: str | None = None
    cores: int | None = None
    system: str | None = None
    timing_valid: bool | None = None
    smallest_difference: float | None = None
    warnings: Several[str] = ()


class LayerFacts(Record):
    """A layer of a stage's model; see `compress.cost.layer_costs`."""

    name: str
    type: str
    params: int | None = None
    macs: int | None = None
    activation_bytes: int | None = None


class Finding(Record):
    """What was seen while a stage trained; see `compress.training.diagnosis`."""

    finding: str
    epoch: int | None = None
    advice: str = ""


class OperatorFacts(Record):
    """An operator of a profile; see `benchmarks.operator_costs.OperatorCost`."""

    name: str | None = None
    operator: str | None = None
    ms: float
    share: float
    macs: int | None = None
    gflops: float | None = None
    of_peak: float | None = None
    bound: str | None = None


class ProfileFacts(Record):
    """Time by operator of one file on one device."""

    artifact: str
    device: str | None = None
    operators: tuple[OperatorFacts, ...]
    notes: Several[str] = ()


class DataFacts(Record):
    """What a run was trained and measured on.

    Attributes:
        task: What the model is asked for.
        samples: How many are in each split.
        hash: Of all samples.
    """

    task: str | None = None
    samples: Some[int] = Field(default_factory=dict)
    hash: str | None = None


def _held_to(kind: type[Record]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Leave a document as it is, and refuse one that isn't of a kind."""

    def check(document: dict[str, Any]) -> dict[str, Any]:
        try:
            kind.model_validate(document)
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(map(str, problem["loc"]))
            raise ValueError(f"{place}: {problem['msg']}") from None
        return document

    return check


DeviceDocument = Annotated[dict[str, Any], AfterValidator(_held_to(DeviceFacts))]
OneDevice = Annotated[DeviceDocument, BeforeValidator(lambda value: value or {})]
ProfileDocument = Annotated[dict[str, Any], AfterValidator(_held_to(ProfileFacts))]
