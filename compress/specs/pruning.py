"""The kinds of pruning steps, each with the options that it has; see `prune_step`.

A new kind is a class here and a line in the table of `compress.pruning`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from edgepress.compress.errors import InputError
from edgepress.compress.specs.notation import BLOCK, N_OF_M
from edgepress.compress.specs.prune_parts import PackedSpec as PackedSpec
from edgepress.compress.specs.prune_parts import RampSpec, RemovalSpec, Share
from edgepress.compress.specs.prune_step import TARGETS, PruneSpec, UnitRecoverSpec
from edgepress.compress.specs.training import Latency

DURING_TRAINING = ("constant", "polynomial")
# What the widths of channels are multiples of if nothing is said.
DEFAULT_MULTIPLE = 8
# The criterion that isn't a score: weights are chosen and the rest refitted from data.
SECOND_ORDER = "second-order"


def _refused(values: dict[str, str], pattern: str) -> BeforeValidator:
    """Say more than that a value isn't one of the others: why these don't fit."""

    def check(value: Any) -> Any:
        if value in values:
            raise ValueError(pattern.format(value=value) + values[value])
        return value

    return BeforeValidator(check)


class ZerosSpec(RemovalSpec, RampSpec, PackedSpec):
    """A step that sets weights to zero, and leaves shapes as they are.

    Attributes:
        initial_sparsity: Sparsity at which a polynomial schedule begins.
        frequency: Steps between two mask updates; by default 100, or less where the ramp is short,
            so that it has about 30 of them.
        rewind: Whether each round of an iterative pruning of weights trains from the weights that
            the model came with, under its new masks, not from where the last round ended.
        per_layer: Sparsity by layer name or glob; takes precedence over the global one.
        depthwise: Prune depthwise kernels too (unstructured pruning only).
        allocation: "global" ranks all layers together, "uniform" takes the same share of each;
            for unstructured pruning also "lamp" (global rank of each weight's share in its layer)
            "erk" (by the kernel's dimensions) and "sensitivity" (where zeros move the outputs
            least, measured on data).
    """

    schedule: Literal["one-shot", "constant", "polynomial", "iterative", "moving"] = "one-shot"
    initial_sparsity: float = Field(0.0, ge=0, lt=1)
    frequency: int | None = Field(None, ge=1)
    rewind: bool = False
    per_layer: dict[str, float] = Field(default_factory=dict)
    depthwise: bool = False
    allocation: Literal["global", "uniform", "lamp", "erk", "sensitivity"] = "global"

    @classmethod
    def foreign(cls, name: str, owners: Sequence[str]) -> str:
        """Why an option of another kind isn't one of pruning to zeros."""
        if name in TARGETS:
            wanted = " or ".join(n for n in TARGETS if n in cls.model_fields)
            return f"structure {cls.kind()} takes {wanted}, not {name}"
        return super().foreign(name, owners)

    @model_validator(mode="after")
    def _whole_training(self) -> Self:
        _on_one_device(self)
        if self.recover.early_stopping and self.schedule in DURING_TRAINING:
            raise ValueError(
                f"recover.early_stopping does not go with schedule {self.schedule}, which reaches"
                " its sparsity at a step of the training: it might end before"
            )
        return self

    def check(self, with_data: bool) -> None:
        """Refuse what can't be done together, or with or without data."""
        epochs, second = self.recover.epochs, self.criterion == SECOND_ORDER
        if self.schedule in (*DURING_TRAINING, "moving") and not epochs:
            raise InputError(
                f"schedule {self.schedule} prunes during training, but recover_epochs is 0",
                "give recover_epochs, or schedule one-shot",
            )
        super().check(with_data)
        if second and not with_data:
            raise InputError(
                f"criterion {self.criterion} needs data", "give data, or prune by magnitude"
            )
        if self.allocation == "sensitivity" and not with_data:
            raise InputError("allocation sensitivity needs data", "give data, or allocation global")
        if self.rewind and (self.schedule != "iterative" or not epochs):
            raise InputError("rewind is for schedule iterative with recover_epochs")
        if self.schedule == "moving" and self.structure != "weights":
            raise InputError(
                f"schedule moving is for structure weights, not {self.structure}",
                "give schedule one-shot, polynomial or iterative",
            )
        if second and self.schedule not in ("one-shot", "moving"):
            raise InputError(
                f"criterion {self.criterion} works one-shot, not with schedule {self.schedule}",
                "give schedule one-shot, or criterion magnitude",
            )
        low, high = self.initial_sparsity, self.sparsity
        if self.schedule == "polynomial" and high and low > high:
            raise InputError(f"initial_sparsity {low:g} is above sparsity {high:g}", "a ramp rises")

    def _released(self) -> dict[str, bool]:
        moving = {"release_zeros": True} if self.schedule == "moving" else {}
        return super()._released() | moving


class WeightsSpec(ZerosSpec):
    """Single weights become zero."""

    structure: Literal["weights"] = "weights"
    target_params: Share = None


class BlocksSpec(ZerosSpec):
    """Blocks of weights become zero.

    Attributes:
        block: Block of "blocks", inputs x outputs, such as "1x4".
    """

    structure: Literal["blocks"] = "blocks"
    target_params: Share = None
    block: str = Field("1x4", pattern=BLOCK)


class NMSpec(ZerosSpec):
    """Of each group of M weights in a row, N stay.

    Attributes:
        pattern: Pattern of "nm", such as "2:4" (2 of every 4 stay); follows from `sparsity` if
            not given.
    """

    structure: Literal["nm"] = "nm"
    pattern: str | None = Field(None, pattern=N_OF_M)

    found: ClassVar[str] = "pattern"

    def aim(self) -> str:
        """What is aimed at, in words."""
        return super().aim() if self.target() else f"pattern {self.pattern}"

    def _aims_otherwise(self) -> bool:
        return self.pattern is not None


class KernelsSpec(ZerosSpec):
    """Whole kernels of convolutions become zero."""

    structure: Literal["kernels"] = "kernels"
    target_params: Share = None


class ClustersSpec(PackedSpec):
    """The weights of each kernel share few values; zeros stay zeros.

    Attributes:
        clusters: Distinct values of each kernel at most, zero counted, with "clusters"; found where
            `target_size` is given.
    """

    structure: Literal["clusters"] = "clusters"
    clusters: int = Field(16, ge=2)

    found: ClassVar[str] = "clusters"

    @classmethod
    def foreign(cls, name: str, owners: Sequence[str]) -> str:
        """Why an option of another kind isn't one of clustering."""
        if name in (*TARGETS, "schedule"):
            return f"structure clusters takes clusters or target_size, not {name}"
        return super().foreign(name, owners)

    def aim(self) -> str:
        """What is aimed at, in words."""
        return super().aim() if self.target() else f"{self.clusters} values"

    @model_validator(mode="after")
    def _clusters_again(self) -> Self:
        _on_one_device(self)
        for name in ("release_zeros", "release_clusters"):
            if getattr(self.recover, name):
                raise ValueError(f"{name} is not for structure clusters, which keeps zeros")
        return self


class UnitsSpec(RemovalSpec):
    """A step that removes whole units, so that the model becomes smaller by itself.

    Attributes:
        target_macs: MACs to keep, as a share (up to 1) or a number.
        repair: Refit the remaining weights on calibration data after the removal.
    """

    target_macs: Share = None
    target_params: Share = None
    criterion: str = "auto"
    schedule: str = "one-shot"
    repair: bool = True
    recover: UnitRecoverSpec = Field(default_factory=UnitRecoverSpec)

    def check(self, with_data: bool) -> None:
        """Refuse what can't be done with or without data."""
        super().check(with_data)
        if self.schedule == "iterative" and self.steps == 1:
            raise InputError("schedule iterative has one step only", "give steps, such as 3")


class ChannelsSpec(UnitsSpec, RampSpec):
    """Channels, neurons, filters, heads and units go.

    Attributes:
        target_size: Share kept of the file: a share, or 64kB, 64KiB or a number. It is the float32
            TFLite file, unless target_format and target_precision name another.
        target_arena: Share kept, alike, of the memory for that file's activations; of C sources
            those of the whole arena that they give TensorFlow Lite Micro.
        target_format: Format of the file that target_size and target_arena are measured on.
        target_precision: Its precision.
        target_latency: Time kept of that file's inference on `device`: a share, or milliseconds as
            2.5 or 0.8ms.
        device: Where latency is measured, layer by layer and width by width, once (it is kept):
            local, ssh://, adb: or a name. Widths are then those at which the time steps, whatever
            the target is.
        threads: Threads of the runtime on that device.
        penalty: For channels that go during training: the share of their weights that each step
            takes away when the penalty has grown to its full strength; 1 sets them to zero.
        penalty_epochs: How many of `recover_epochs` pass under the penalty, before the removal;
            the rest follows it. Half by default.
        per_layer: Sparsity by layer name or glob; takes precedence over the global one.
        allocation: "global" ranks all layers together, "uniform" takes the same share of each.
        group_reduction: How importances of coupled layers combine: "sum", "mean" or "max".
        round_to: Keep layer widths at multiples of this, in every group; a group without a narrower
            one stays whole. By default multiples of 8, of less in groups narrower than 64, and of
            less where the target would be missed by more than 1 %.
        min_channels: Fewest channels that each group keeps.
        min_share: Smallest share of its channels that a group keeps, as long as the target can be
            reached so: a ranking over all layers may otherwise choke one of them.
    """

    structure: Literal["channels"] = "channels"
    target_size: Share = None
    target_arena: Share = None
    target_format: Literal["tflite", "c"] = "tflite"
    target_precision: Literal["float32", "float16", "dynamic", "int8", "int16x8"] = "float32"
    target_latency: Latency | None = None
    device: str | None = None
    threads: int = Field(1, ge=1)
    schedule: Annotated[
        Literal["one-shot", "constant", "polynomial", "iterative"],
        _refused(
            {"moving": "a removed channel doesn't come back"},
            "schedule {value} is for structure weights; ",
        ),
    ] = "one-shot"
    penalty: float = Field(0.1, gt=0, le=1)
    penalty_epochs: int | None = Field(None, ge=1)
    per_layer: dict[str, float] = Field(default_factory=dict)
    allocation: Literal["global", "uniform"] = "global"
    group_reduction: Literal["sum", "mean", "max"] = "mean"
    round_to: int | None = Field(None, ge=1)
    min_channels: int = Field(1, ge=1)
    min_share: float = Field(0.25, ge=0, lt=1)

    @property
    def multiple(self) -> int:
        """What widths are kept at multiples of, where a group is wide enough."""
        return self.round_to or DEFAULT_MULTIPLE

    def multiple_left(self, width: int) -> int:
        """What a width is a multiple of: that, or the largest of its divisors."""
        return math.gcd(width, self.multiple)

    @classmethod
    def foreign(cls, name: str, owners: Sequence[str]) -> str:
        """Why an option of another kind isn't one of channels."""
        if name in ("initial_sparsity", "frequency"):
            return f"{name} is not for channels: they shrink a little with every step"
        return super().foreign(name, owners)

    @model_validator(mode="after")
    def _on_a_file(self) -> Self:
        for name in ("target_format", "target_precision"):
            if self.asked(name) and not (self.target_size or self.target_arena):
                raise ValueError(f"{name} is for target_size and target_arena")
        if self.target_format == "c" and self.target_precision in ("float16", "dynamic"):
            raise ValueError(
                f"target_format c has no precision {self.target_precision}: give float32, int8 or"
                " int16x8"
            )
        return self

    @model_validator(mode="after")
    def _on_a_device(self) -> Self:
        if self.target_latency and not self.device:
            raise ValueError("target_latency needs device, such as local")
        if self.asked("threads") and not self.device:
            raise ValueError("threads are those of a device: give device too")
        return self

    @model_validator(mode="after")
    def _under_a_penalty(self) -> Self:
        if self.schedule in DURING_TRAINING:
            _on_one_device(self)
            if self.asked("steps"):
                raise ValueError(
                    f"steps is not for channels with schedule {self.schedule}: they shrink a little"
                    " with every step, and go at once; leave steps out, or give schedule iterative"
                )
            epochs = self.recover.epochs
            if self.penalty_epochs is not None and self.penalty_epochs > epochs:
                raise ValueError(
                    f"penalty_epochs {self.penalty_epochs} is more than recover_epochs {epochs}, of"
                    " which they are a part"
                )
            return self
        for name in ("penalty", "penalty_epochs"):
            if self.asked(name):
                raise ValueError(
                    f"{name} is for structure channels with schedule constant or polynomial"
                )
        return self

    def check(self, with_data: bool) -> None:
        """Refuse what can't be done with or without data."""
        super().check(with_data)
        if self.schedule in DURING_TRAINING and not (with_data and self.recover.epochs):
            lacks = "recover_epochs is 0" if with_data else "there is no data"
            raise InputError(
                f"schedule {self.schedule} removes channels during training, and {lacks}",
                "give data and recover_epochs, or schedule one-shot",
            )


def _measured_loss(value: Any) -> Any:
    if value not in ("auto", "damage"):
        raise ValueError("structure layers ranks by measured loss: it takes no criterion")
    return value


class LayersSpec(UnitsSpec):
    """Whole residual branches and layers that keep shapes go, those that are missed least first.

    Attributes:
        schedule: "one-shot" or "iterative".
    """

    structure: Literal["layers"] = "layers"
    criterion: Annotated[
        Literal["auto", "damage"],
        BeforeValidator(_measured_loss),
    ] = "auto"
    schedule: Annotated[
        Literal["one-shot", "iterative"],
        _refused(
            dict.fromkeys((*DURING_TRAINING, "moving"), "a layer goes at once"),
            "schedule {value} is not for structure layers: ",
        ),
    ] = "one-shot"

    def check(self, with_data: bool) -> None:
        """Refuse what can't be done with or without data."""
        super().check(with_data)
        if not with_data:
            raise InputError(
                "structure layers measures what each layer is worth, and no data is given",
                "give data, or structure channels",
            )


def _on_one_device(spec: PruneSpec) -> None:
    """Weights that each step of the training puts back, or shrinks, are those of one copy."""
    if spec.recover.distribute != "none":
        raise ValueError(
            "recover.distribute is for the recovery after channels or layers were removed: weights"
            " that stay zero, shared or shrinking are held on one device"
        )


Structure = Literal["weights", "blocks", "nm", "kernels", "clusters", "channels", "layers"]
UNSTRUCTURED: tuple[Structure, ...] = ("weights", "blocks", "nm", "kernels", "clusters")
