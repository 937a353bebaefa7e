"""What a person writes to describe a step; unknown fields and impossible values are refused."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from edgepress.compress.specs.notation import parse_by_output, parse_class_names, parse_size
from edgepress.compress.specs.prune_step import TARGETS as TARGETS
from edgepress.compress.specs.prune_step import PruneSpec as PruneSpec
from edgepress.compress.specs.pruning import UNSTRUCTURED as UNSTRUCTURED
from edgepress.compress.specs.training import FinetuneSpec as FinetuneSpec
from edgepress.compress.specs.training import (
    Names,
    Number,
    Numbers,
    Share,
)
from edgepress.compress.specs.training import Spec as Spec
from edgepress.compress.specs.training import TrainSpec as TrainSpec

# One text for all outputs, or NAME=TEXT for each.
ByOutput = Annotated[
    tuple[str, ...],
    BeforeValidator(
        parse_by_output, json_schema_input_type=tuple[str, ...] | dict[str, str | float] | str
    ),
]

Labels = Annotated[
    tuple[str, ...],
    BeforeValidator(
        parse_by_output, json_schema_input_type=tuple[str, ...] | dict[str, int] | str | int
    ),
]

ClassNames = Annotated[
    tuple[str, ...],
    BeforeValidator(parse_class_names, json_schema_input_type=tuple[str | int, ...] | str),
]


class SoundSpec(Spec):
    """How sounds are read, and which features of them a model gets.

    Attributes:
        features: What is computed from sounds: mel (magnitudes in bands of the mel scale),
            log-mel (their natural logarithm), mfcc (cepstral coefficients) or spectrogram, each as
            `tf.signal` has it. None for a model that takes the sound itself.
        sample_rate: Samples a second that sounds are resampled to; by default the files' own.
        clip_seconds: Length that sounds are cut or padded to; by default what fills the model's
            input.
        frame_ms: Length of the frame that one spectrum is of, in milliseconds.
        hop_ms: Time from one frame to the next, in milliseconds.
        fft_length: Length of the Fourier transform; by default the next power of two.
        bands: Bands of the mel scale.
        fmin: Lower edge of the lowest band in hertz.
        fmax: Upper edge of the highest band in hertz; by default half the sample rate.
        log_offset: What is added before the logarithm.
        coefficients: Cepstral coefficients that mfcc keeps.
        spectrum: Whether bands add magnitudes or their squares.
    """

    features: Literal["mel", "log-mel", "mfcc", "spectrogram"] | None = None
    sample_rate: int | None = Field(None, ge=100, le=768_000)
    clip_seconds: float | None = Field(None, gt=0, le=3600)
    frame_ms: float = Field(25.0, gt=0, le=10_000)
    hop_ms: float = Field(10.0, gt=0, le=10_000)
    fft_length: int | None = Field(None, ge=2, le=2**20)
    bands: int = Field(40, ge=1, le=4096)
    fmin: float = Field(20.0, ge=0)
    fmax: float | None = Field(None, gt=0)
    log_offset: Number = Field(1e-6, gt=0)
    coefficients: int = Field(13, ge=1)
    spectrum: Literal["magnitude", "power"] = "magnitude"


class SeriesSpec(Spec):
    """How rows of tables are grouped, and cut into windows.

    Attributes:
        window: Rows in a window of a time series; by default each row is a sample.
        step: Rows from one window to the next; by default the window's length.
        group_by: Column of what rows belong to, such as a subject: no group is in two splits, and
            no window holds rows of two.
        time_column: Column of each row's time, seconds or dates; no window crosses a gap in it.
        events: CSV file with the columns start, end and label (and the one of `group_by`, or file),
            instead of a column with labels.
        window_label: What a window is labelled by: the majority of its rows, its last row, or the
            mean; by default majority for classes, last for values.
    """

    window: int | None = Field(None, ge=1)
    step: int | None = Field(None, ge=1)
    group_by: str | None = None
    time_column: str | None = None
    events: str | None = None
    window_label: Literal["majority", "last", "mean"] | None = None


class DataSpec(SoundSpec, SeriesSpec):
    """Where the data is and how it is prepared.

    Attributes:
        spec: File, folder, `tfds:NAME` or `file.py:function`; in the library also a pair of
            arrays (x, y) or a mapping.
        scale: Factor applied to inputs, as 1/255.
        mean: Mean to subtract after scaling: one number, or one for each channel.
        std: Standard deviation to divide by after that.
        preprocess: Preparation of images from 0 to 255 as keras.applications define it, instead of
            scale, mean and std: tf (-1 to 1), torch, caffe (BGR), or the name of an application,
            as mobilenet_v2.
        resize: Image size, as HEIGHTxWIDTH; the model's own by default.
        augment: Random changes to training samples, with an amount after a colon where one is
            needed, as crop:4, or a function of your own, as file.py:function.
        classes: Names of the class folders in the order of the model's outputs, as cat,dog; by
            default that of a `classes.txt` in the folder, else as text.
        target: Column that holds the target in a table.
        validation_split: Share used for validation if the data has no validation split.
        loss: Name of a Keras loss, such as mse or categorical_crossentropy, or file.py:function
            of (targets, outputs); for single outputs out=mse, repeated. Inferred by default.
        loss_weight: What the loss of an output counts beside the others', as out=0.5; 0 leaves the
            output out. As compiled, else 1.
        metric: Metric, or file.py:function of (targets, outputs); for single outputs out=f1,
            repeated. Inferred by default.
        ignore_label: The label that marks what has no class, such as 255 in masks: such places
            count neither in the loss nor in metrics; for single outputs out=255, repeated.
        steps_per_epoch: Batches of a training `tf.data.Dataset` that make an epoch, each epoch
            taking the next ones; for such as never end.
        unlabelled: Train without labels, on the teacher's outputs alone: `x_train` is enough.
            Labels of a test split are still used to measure.
    """

    spec: Any
    scale: Number | None = None
    mean: Numbers | None = None
    std: Numbers | None = None
    preprocess: str | None = None
    resize: (
        Annotated[
            tuple[int, int],
            BeforeValidator(parse_size, json_schema_input_type=tuple[int, int] | str),
        ]
        | None
    ) = None
    augment: Names = ()
    classes: ClassNames = ()
    target: str | None = None
    validation_split: Share = 0.2
    loss: ByOutput = ()
    loss_weight: ByOutput = ()
    metric: ByOutput = ()
    ignore_label: Labels = ()
    steps_per_epoch: Annotated[int, Field(ge=1)] | None = None
    unlabelled: bool = False

    @model_validator(mode="before")
    @classmethod
    def _bare_spec(cls, value: Any) -> Any:
        found = value if isinstance(value, dict) and "spec" in value else {"spec": value}
        named = isinstance(found["spec"], PurePath)
        return {**found, "spec": str(found["spec"])} if named else found

    @model_validator(mode="after")
    def _one_preparation(self) -> DataSpec:
        numbers = [name for name in ("scale", "mean", "std") if getattr(self, name) is not None]
        if self.preprocess is not None and numbers:
            raise ValueError(f"give one of preprocess and {numbers[0]}")
        if self.scale == 0:
            raise ValueError("scale 0 makes all inputs 0: write a number such as 1/255")
        return self

    @model_validator(mode="after")
    def _of_windows(self) -> DataSpec:
        asked = [n for n in ("step", "time_column", "events", "window_label") if getattr(self, n)]
        if asked and self.window is None:
            raise ValueError(f"{asked[0]} is for windows of rows: give window too")
        return self
