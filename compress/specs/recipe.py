"""What a person writes to describe a step; unknown fields and impossible values are refused."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from edgepress.compress.specs.notation import parse_size, show_rate
from edgepress.compress.specs.training import (
    Drop,
    Latency,
    Names,
    Number,
    Numbers,
    Rate,
    Share,
)
from edgepress.compress.specs.training import FinetuneSpec as FinetuneSpec
from edgepress.compress.specs.training import Spec as Spec
from edgepress.compress.specs.training import TrainSpec as TrainSpec

Structure = Literal["weights", "blocks", "nm", "kernels", "clusters", "channels", "layers"]
UNSTRUCTURED: tuple[Structure, ...] = ("weights", "blocks", "nm", "kernels", "clusters")

# Options that not every structure looks at.
_LOOKED_AT: dict[str, tuple[Structure, ...]] = {
    **dict.fromkeys(("round_to", "min_channels", "min_share", "group_reduction"), ("channels",)),
    **dict.fromkeys(("per_layer", "allocation"), ("channels", *UNSTRUCTURED)),
    **dict.fromkeys(("rewind", "depthwise"), UNSTRUCTURED),
    "block": ("blocks",),
}

TARGETS = (
    "sparsity", "target_macs", "target_params", "target_size", "target_arena", "target_latency"
)  # fmt: skip


class DataSpec(Spec):
    """Where the data is and how it is prepared.

    Attributes:
        spec: File, folder, `tfds:NAME` or `file.py:function`; in the library also a pair of
            arrays (x, y) or a mapping.
        scale: Factor applied to inputs, as 1/255.
        mean: Mean to subtract after scaling: one number, or one for each channel.
        std: Standard deviation to divide by after that.
        resize: Image size, as HEIGHTxWIDTH; the model's own by default.
        augment: Random changes to training samples, with an amount after a colon where one is
            needed, as crop:4.
        target: Column that holds the target in a table.
        validation_split: Share used for validation if the data has no validation split.
        loss: Name of a Keras loss, such as mse or categorical_crossentropy; inferred by default.
        metric: Metric; inferred by default.
        unlabelled: Train without labels, on the teacher's outputs alone: `x_train` is enough.
            Labels of a test split are still used to measure.
    """

    spec: Any
    scale: Number | None = None
    mean: Numbers | None = None
    std: Numbers | None = None
    resize: (
        Annotated[
            tuple[int, int],
            BeforeValidator(parse_size, json_schema_input_type=tuple[int, int] | str),
        ]
        | None
    ) = None
    augment: Names = ()
    target: str | None = None
    validation_split: Share = 0.2
    loss: str | None = None
    metric: str | None = None
    unlabelled: bool = False

    @model_validator(mode="before")
    @classmethod
    def _bare_spec(cls, value: Any) -> Any:
        found = value if isinstance(value, dict) and "spec" in value else {"spec": value}
        named = isinstance(found["spec"], PurePath)
        return {**found, "spec": str(found["spec"])} if named else found


class PruneSpec(Spec):
    """One pruning step and its recovery.

    Attributes:
        structure: What is removed; "clusters" removes no weights, but lets those of each kernel
            share few values (zeros stay zeros), which compresses well.
        sparsity: Share removed: of weights for unstructured, of channels for structured pruning.
        target_macs: MACs to keep, as a share (up to 1) or a number.
        target_params: Parameters to keep, as a share or a number; for unstructured pruning the
            nonzero ones.
        target_size: Bytes kept of the float32 TFLite file, as a share or a number; measured on the
            file itself, whatever precisions are exported later. For unstructured pruning those of
            the packed file, since zeros and shared values leave its length as it is.
        packing: What packs that file: "gzip" (level 9) or "zstd" (level 12).
        target_arena: Bytes kept of the memory for that file's activations, as a share or a number.
        target_latency: Time kept of that file's inference on `device`: a share, or milliseconds as
            2.5 or 0.8ms.
        device: Where latency is measured, layer by layer and width by width, once (it is kept):
            local, ssh://, adb: or a name. Widths are then those at which the time steps, whatever
            the target is.
        threads: Threads of the runtime on that device.
        criterion: Importance criterion. "auto", the default for channels and layers, is
            "taylor" with data and "l1" without; the default for weights is "l1".
        schedule: "one-shot" (after training), "iterative", or during training "constant" and
            "polynomial": weights are set to zero along the schedule; channels that will go shrink
            under a penalty along it, then are removed. "moving" sets weights to zero at once, then
            exchanges weak ones for those of strong gradient every `frequency` steps.
        initial_sparsity: Sparsity at which a polynomial schedule begins.
        begin_step: First training step at which masks are updated, or channels shrink.
        end_step: Step at which a polynomial schedule reaches `sparsity` (or `penalty`); by default
            three quarters of the training.
        frequency: Steps between two mask updates; by default 100, or less where the ramp is short,
            so that it has about 30 of them.
        power: Exponent of the polynomial.
        penalty: For channels that go during training: the share of their weights that each step
            takes away when the penalty has grown to its full strength; 1 sets them to zero.
        penalty_epochs: How many of `recover_epochs` pass under the penalty, before the removal;
            the rest follows it. Half by default.
        steps: Rounds of an iterative pruning, with recovery between.
        rewind: Whether each round of an iterative pruning of weights trains from the weights that
            the model came with, under its new masks, not from where the last round ended.
        protect: Layers (names or globs) that are not pruned.
        per_layer: Sparsity by layer name or glob; takes precedence over the global one.
        block: Block of "blocks", inputs x outputs, such as "1x4".
        pattern: Pattern of "nm", such as "2:4" (2 of every 4 stay); follows from `sparsity` if
            not given.
        clusters: Distinct values of each kernel at most, zero counted, with "clusters"; found where
            `target_size` is given.
        depthwise: Prune depthwise kernels too (unstructured pruning only).
        allocation: "global" ranks all layers together, "uniform" takes the same share of each;
            for unstructured pruning also "lamp" (global rank of each weight's share in its layer)
            "erk" (by the kernel's dimensions) and "sensitivity" (where zeros move the outputs
            least, measured on data).
        group_reduction: How importances of coupled layers combine: "sum", "mean" or "max".
        round_to: Keep layer widths at multiples of this.
        min_channels: Fewest channels that each group keeps.
        min_share: Smallest share of its channels that a group keeps, as long as the target can be
            reached so: a ranking over all layers may otherwise choke one of them.
        repair: Refit the remaining weights on calibration data after the removal.
        calibration_samples: Samples for data-driven criteria and repair.
        recover_epochs: Epochs of training after (one-shot) or during pruning.
        recover_optimizer: Optimizer of the recovery.
        recover_lr: Learning rate of the recovery, or "auto"; 0.002 by default after channels and
            layers.
        recover_schedule: Learning-rate schedule of the recovery.
        recover_batch_size: Batch size of the recovery.
        distill: Recover by distillation from the unpruned model.
        match_layers: Layers whose outputs are also matched with the unpruned model's in recovery.
        release_zeros: Let repair and recovery change the zeros of the given model.
        release_clusters: Let repair and recovery separate weights that share a value.
        max_drop: Largest acceptable fall of the metric, as a share of 1.
    """

    structure: Structure = "weights"
    sparsity: float | None = Field(None, gt=0, lt=1)
    target_macs: float | None = Field(None, gt=0)
    target_params: float | None = Field(None, gt=0)
    target_size: float | None = Field(None, gt=0)
    packing: Literal["gzip", "zstd"] = "gzip"
    target_arena: float | None = Field(None, gt=0)
    target_latency: Latency | None = None
    device: str | None = None
    threads: int = Field(1, ge=1)
    criterion: str = "l1"
    schedule: Literal["one-shot", "constant", "polynomial", "iterative", "moving"] = "one-shot"
    initial_sparsity: float = Field(0.0, ge=0, lt=1)
    begin_step: int = Field(0, ge=0)
    end_step: int | None = Field(None, ge=1)
    frequency: int | None = Field(None, ge=1)
    power: float = Field(3.0, gt=0)
    penalty: float = Field(0.1, gt=0, le=1)
    penalty_epochs: int | None = Field(None, ge=1)
    steps: int = Field(1, ge=1)
    rewind: bool = False
    protect: Names = ()
    per_layer: dict[str, float] = Field(default_factory=dict)
    block: str = Field("1x4", pattern=r"^[1-9]\d*x[1-9]\d*$")
    pattern: str | None = Field(None, pattern=r"^[1-9]\d*:[1-9]\d*$")
    clusters: int = Field(16, ge=2)
    depthwise: bool = False
    allocation: Literal["global", "uniform", "lamp", "erk", "sensitivity"] = "global"
    group_reduction: Literal["sum", "mean", "max"] = "mean"
    round_to: int = Field(8, ge=1)
    min_channels: int = Field(1, ge=1)
    min_share: float = Field(0.25, ge=0, lt=1)
    repair: bool = True
    calibration_samples: int = Field(512, ge=1)
    recover_epochs: int = Field(0, ge=0)
    recover_optimizer: str = "adam"
    recover_lr: Rate = 1e-3
    recover_schedule: str = "cosine"
    recover_batch_size: int = Field(64, ge=1)
    distill: bool = True
    match_layers: Names = ()
    release_zeros: bool = False
    release_clusters: bool = False
    max_drop: Drop | None = Field(None, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _criterion_of_structure(cls, value: Any) -> Any:
        """Whole units have criteria of their own, and more to recover from: other defaults."""
        if isinstance(value, dict) and value.get("structure") in ("channels", "layers"):
            return {"criterion": "auto", "recover_lr": 2e-3, **value}
        return value

    def asked(self, name: str) -> bool:
        """Whether an option was given; a run's own recipe spells out the defaults too."""
        default = type(self).model_fields[name].get_default(call_default_factory=True)
        return name in self.model_fields_set and getattr(self, name) != default

    @model_validator(mode="after")
    def _one_target(self) -> PruneSpec:
        given = [n for n in TARGETS if getattr(self, n)]
        if self.structure == "nm" and self.pattern and not given:
            return self
        if self.structure == "clusters":
            others = [n for n in given if n != "target_size"]
            if others or self.schedule != "one-shot":
                what = others[0] if others else "schedule"
                raise ValueError(f"structure clusters takes clusters or target_size, not {what}")
            return self
        if self.asked("clusters"):
            raise ValueError(f"clusters is for structure clusters, not {self.structure}")
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(TARGETS)}")
        self._check_target(given[0])
        if self.target_latency and not self.device:
            raise ValueError("target_latency needs device, such as local")
        if self.asked("threads") and not self.device:
            raise ValueError("threads are those of a device: give device too")
        if self.structure not in UNSTRUCTURED and self.allocation in ("lamp", "erk", "sensitivity"):
            raise ValueError(f"allocation {self.allocation} is for unstructured pruning")
        if self.pattern and self.structure != "nm":
            raise ValueError(f"pattern {self.pattern} is for structure nm, not {self.structure}")
        return self

    def _check_target(self, target: str) -> None:
        """Whether the structure can be pruned to a target of this name."""
        unstructured = self.structure in UNSTRUCTURED
        allowed = ["sparsity", "target_params", "target_size"]
        if self.structure == "nm":
            allowed.remove("target_params")
        if unstructured and target not in allowed:
            wanted = " or ".join(allowed)
            raise ValueError(f"structure {self.structure} takes {wanted}, not {target}")
        packed = ["target_size"] if unstructured else []
        measured = [n for n in (*TARGETS[3:], "device") if getattr(self, n) and n not in packed]
        if self.structure != "channels" and measured:
            raise ValueError(f"{measured[0]} is for structure channels, not {self.structure}")

    @model_validator(mode="after")
    def _packed_target(self) -> PruneSpec:
        """A size in packed bytes is reached by one setting, which is found."""
        packed = self.structure in UNSTRUCTURED and self.target_size
        if self.asked("packing") and not packed:
            raise ValueError("packing is for target_size of unstructured pruning")
        for name in ("pattern", "clusters"):
            if packed and self.asked(name):
                raise ValueError(f"target_size finds {name}: give one of the two")
        return self

    @model_validator(mode="after")
    def _penalty_in_place(self) -> PruneSpec:
        shrinking = self.structure == "channels" and self.schedule in ("constant", "polynomial")
        for name in ("penalty", "penalty_epochs"):
            if self.asked(name) and not shrinking:
                raise ValueError(
                    f"{name} is for structure channels with schedule constant or polynomial"
                )
        return self

    @model_validator(mode="after")
    def _options_with_an_effect(self) -> PruneSpec:
        for name, structures in _LOOKED_AT.items():
            if self.asked(name) and self.structure not in structures:
                first = f"structure {structures[0]}"
                wanted = "unstructured pruning" if structures == UNSTRUCTURED else first
                raise ValueError(f"{name} is for {wanted}, not structure {self.structure}")
        if self.structure == "layers" and self.criterion not in ("auto", "damage"):
            raise ValueError("structure layers ranks by measured loss: it takes no criterion")
        for name in ("initial_sparsity", "begin_step", "end_step", "frequency", "power"):
            if self.asked(name) and self.schedule == "one-shot":
                raise ValueError(f"{name} is for pruning along a schedule, not one-shot")
        return self

    @model_validator(mode="after")
    def _clusters_anew(self) -> PruneSpec:
        for name in ("release_zeros", "release_clusters"):
            if getattr(self, name) and self.structure == "clusters":
                raise ValueError(f"{name} is not for structure clusters, which keeps zeros")
        return self

    def recovery(self) -> TrainSpec:
        """The training that follows (or accompanies) the pruning."""
        return TrainSpec(
            epochs=self.recover_epochs,
            optimizer=self.recover_optimizer,
            lr=show_rate(self.recover_lr),
            distill_layers=self.match_layers,
            schedule=self.recover_schedule,
            batch_size=self.recover_batch_size,
            release_zeros=self.release_zeros or self.schedule == "moving",
            # Steps that set weights to zero or cluster them keep clusters by their own means.
            release_clusters=self.release_clusters or self.structure in UNSTRUCTURED,
        )
