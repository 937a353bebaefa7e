"""What a person writes to describe a training; see `recipe`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema

from edgepress.compress.specs.amounts import parse_latency
from edgepress.compress.specs.descriptions import describe, docstring_helps
from edgepress.compress.specs.notation import (
    CLASS_WEIGHTS,
    as_list,
    parse_class_weights,
    parse_number,
    parse_numbers,
    parse_points,
    parse_positive_weights,
    parse_rate,
    parse_share,
    show_rate,
)

# What each reads beside its own type is told too, so that an editor accepts it in a recipe.
Number = Annotated[float, BeforeValidator(parse_number, json_schema_input_type=float | str)]
Numbers = Annotated[
    tuple[float, ...],
    BeforeValidator(parse_numbers, json_schema_input_type=tuple[float, ...] | float | str),
]
Names = Annotated[
    tuple[str, ...], BeforeValidator(as_list, json_schema_input_type=tuple[str, ...] | str)
]
Share = Annotated[float, Field(gt=0, lt=1)]
# What every generator of random numbers takes.
LARGEST_SEED = 2**32 - 1
# The largest fall of a metric, as 0.01 or 1%.
Drop = Annotated[float, BeforeValidator(parse_share)]
Latency = Annotated[float | str, BeforeValidator(parse_latency)]
Rate = Annotated[
    float,
    BeforeValidator(parse_rate, json_schema_input_type=float | str),
    PlainSerializer(show_rate),
]


class Spec(BaseModel):
    """Base of all specs: frozen; a misspelt field or an infinite number is an error.

    A class's docstring says what its fields mean; help texts, signatures and JSON schemas tell it
    on. `flags` holds the fields that are called otherwise on the command line.
    """

    flags: ClassVar[Mapping[str, str]] = {}

    # Building all schemas takes longer than the rest of a command's start, and few are used.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    @classmethod
    def option_fields(cls) -> dict[str, FieldInfo]:
        """What can be given by name; a class that reads more than its fields says so."""
        return dict(cls.model_fields)

    def given(self) -> dict[str, Any]:
        """The options that were given, by name."""
        return {name: getattr(self, name) for name in self.model_fields_set}

    @classmethod
    def option_helps(cls) -> dict[str, str]:
        """The meaning of each of them."""
        return docstring_helps(cls)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The class's schema, with what its docstring says."""
        found = handler(core_schema)
        describe(handler.resolve_ref_schema(found), cls)
        return found


class TrainSpec(Spec):
    """How a training runs.

    Attributes:
        epochs: Passes over the training split.
        batch_size: Samples per training step.
        optimizer: Optimizer.
        lr: Initial learning rate (after warm-up), or "auto": the rate that a range test (lr-find)
            suggests.
        momentum: For SGD and RMSprop.
        weight_decay: Decoupled weight decay (AdamW, or any optimizer).
        schedule: Learning-rate schedule.
        warmup: Epochs of linear warm-up from 0 to `lr` (may be a fraction).
        lr_factor: Factor of the `step`, `exponential` and `plateau` schedules.
        lr_every: Epochs between two drops of `step`; epochs in which `exponential` falls by the
            factor; the first period of `cosine-restarts`.
        lr_growth: Factor from one period of `cosine-restarts` to the next.
        lr_power: Exponent of `polynomial`.
        lr_points: For `piecewise`: the rate from an epoch on, as 5=1e-3,10=1e-4.
        lr_patience: Epochs without improvement before `plateau` lowers the rate.
        min_lr: Floor of every schedule.
        early_stopping: Epochs without improvement before training ends; off by default.
        restore_best: Keep the weights of the epoch with the best validation result.
        clipnorm: Upper limit of the global gradient norm.
        clipvalue: Upper limit of each gradient element; not together with `clipnorm`.
        accumulate: Steps whose gradients are averaged before each weight update: a larger
            effective batch without more memory.
        ema: Decay of an exponential moving average of the weights, such as 0.999; the averaged
            weights are evaluated and saved.
        class_weights: Weight of each class in the loss: "none", "balanced" (every class has the
            same total weight), "auto" (balanced if the classes are imbalanced), or weights by class
            number or name, as 0=1,3=2.5; 1 for the rest.
        positive_weights: What a "yes" counts in the loss of labels, where a "no" counts 1: "none",
            "balanced" (both sides of each label have the same total weight), one number for all
            labels, one for each as 1,5,2.5, by number or name as 0=3,cat=2, or a file of numbers
            (.json, .npy, .txt).
        compute: Number type of the computations in training: "float32", "bfloat16" (mixed
            precision; weights, outputs and the saved model stay float32), or "auto", bfloat16 where
            the machine has instructions for it.
        temperature: Temperature of the soft targets in distillation.
        distill_weight: Share of the distillation loss; the rest is the task's own loss.
        distribute: "none"; "mirrored" trains on all devices of this machine, each with a share of
            every batch; "multi-worker" on the hosts that the variable TF_CONFIG names, where the
            same command runs on each and the first one writes.
        distill_layers: Layers whose outputs are also matched with the teacher's, as NAME or
            NAME=TEACHERS_NAME; widths may differ.
        distill_layers_weight: Weight of the layer matching loss.
        release_zeros: Let the zeros of a pruned model change. By default they are preserved: a
            kernel counts as pruned from 10 % zeros on.
        release_clusters: Let clustered weights diverge. By default they keep sharing their values,
            and these values are trained.
        log_csv: CSV file for the figures of each epoch.
        log_tensorboard: Folder for TensorBoard's event files.
    """

    epochs: int = Field(10, ge=0)
    batch_size: int = Field(64, ge=1)
    optimizer: str = "adam"
    lr: Rate = 1e-3
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    schedule: str = "constant"
    warmup: float = Field(0.0, ge=0)
    lr_factor: float = Field(0.5, gt=0, lt=1)
    lr_every: int = Field(10, ge=1)
    lr_growth: float = Field(1.0, ge=1)
    lr_power: float = Field(1.0, gt=0)
    lr_points: Annotated[
        tuple[tuple[float, float], ...],
        BeforeValidator(parse_points, json_schema_input_type=tuple[tuple[float, float], ...] | str),
    ] = ()
    lr_patience: int = Field(5, ge=0)
    min_lr: float = Field(1e-6, ge=0)
    early_stopping: int | None = Field(None, ge=1)
    restore_best: bool = True
    clipnorm: float | None = Field(None, gt=0)
    clipvalue: float | None = Field(None, gt=0)
    accumulate: int = Field(1, ge=1)
    ema: float | None = Field(None, gt=0, lt=1)
    class_weights: Annotated[
        str,
        BeforeValidator(parse_class_weights, json_schema_input_type=dict[str, float] | str),
        Field(pattern=CLASS_WEIGHTS),
    ] = "none"
    positive_weights: Annotated[
        str,
        BeforeValidator(
            parse_positive_weights,
            json_schema_input_type=dict[str, float] | tuple[float, ...] | float | str,
        ),
    ] = "none"
    compute: Literal["float32", "bfloat16", "auto"] = "float32"
    temperature: float = Field(4.0, gt=0)
    distill_weight: float = Field(0.9, ge=0, le=1)
    distribute: Literal["none", "mirrored", "multi-worker"] = "none"
    distill_layers: Names = ()
    distill_layers_weight: float = Field(1.0, gt=0)
    release_zeros: bool = False
    release_clusters: bool = False
    log_csv: str | None = None
    log_tensorboard: str | None = None

    @model_validator(mode="after")
    def _one_clip(self) -> TrainSpec:
        if self.clipnorm and self.clipvalue:
            raise ValueError("give one of clipnorm and clipvalue")
        return self


class FinetuneSpec(TrainSpec):
    """Fine-tuning: a training in which only some layers change.

    Attributes:
        unfreeze: Layers to train; all others are frozen. Can be repeated.
        lr_decay_per_block: Factor of the learning rate from each block of layers to the one before
            it: with 0.5 the last block is trained at `lr`, the one before it at half of it, and so
            on.
        train_batchnorm: Update the batch normalisation statistics of frozen layers too.
        teacher: Model to distil from: its outputs are learned in addition to the labels.
        feature_cache: Compute the outputs of the frozen layers below the first trained one once for
            each sample, unless something random comes before them.
        cache_memory: Most memory for cached features in GiB; never more than a fifth of what is
            free.
        cache_disk: Most disk space for features that don't fit in memory, in GiB; never more than
            half of what is free; 0 keeps them off the disk.
        callbacks: Keras callbacks of your own, as file.py:object; a class or function is called.
    """

    unfreeze: Names = ("all",)
    lr_decay_per_block: float = Field(1.0, gt=0, le=1)
    train_batchnorm: bool = False
    teacher: str | None = None
    feature_cache: bool = True
    cache_memory: float = Field(4.0, ge=0)
    cache_disk: float = Field(16.0, ge=0)
    callbacks: Names = ()


# What has no effect on unfreezing by experiment, since it trains many models without a teacher.
NOT_OF_SEARCH = ("unfreeze", "teacher", "distill_layers", "callbacks", "log_csv", "log_tensorboard")
# All that a range test looks at.
OF_RANGE_TEST = (
    "batch_size", "optimizer", "momentum", "weight_decay", "clipnorm", "clipvalue", "class_weights",
    "positive_weights",
    "unfreeze", "train_batchnorm",
)  # fmt: skip
NOT_OF_RANGE_TEST = tuple(n for n in FinetuneSpec.model_fields if n not in OF_RANGE_TEST)
