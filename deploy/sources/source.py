"""What files are made from and compared with: a Keras model, or a file of another kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edgepress.compress.data import Dataset
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.artifact import TensorSpec
from edgepress.deploy.exporters import EXPORTERS, Exporter, Job
from edgepress.deploy.exporters.exporter import Trace
from edgepress.deploy.exporters.preflight import Obstacle, check_samples, preflight
from edgepress.deploy.sources.fronts.sounds import sound_of, with_features
from edgepress.deploy.sources.fronts.tokens import TokenFront, split_off

if TYPE_CHECKING:
    import keras

Arrays = Mapping[str, NDArray[Any]]
Outputs = list[NDArray[Any]]


@dataclass(frozen=True)
class Source:
    """A model, whatever holds it.

    Attributes:
        model: The Keras model, or one with the signature of a file that computes nothing.
        run: Gives the outputs for chunks of samples by input name, in the model's order.
        identify: Gives the model's identity.
        exporters: The formats that it has, by name.
        obstacles: Gives what in it won't convert.
        input_names: Names of the inputs in the files that converters read, in the model's order.
        precision: How it stores numbers, a name in `PRECISIONS`.
        batch: The batch size that it fixes, or None.
        file: The opened file or folder (`deploy.sources.model_file.ForeignFile`), where it is no
            Keras model.
        trace: Writes its graph, where it is no Keras model and has one that converters take.
        notes: What was done to open it, one line each.
        front: What of the Keras model stands before its files: look-ups of texts; or None.
    """

    model: Any
    run: Callable[[Iterator[Arrays]], Outputs]
    identify: Callable[[], str]
    exporters: Mapping[str, Exporter]
    obstacles: Callable[[Job, Sequence[str]], tuple[Obstacle, ...]]
    input_names: Sequence[str]
    precision: str = "float32"
    batch: int | None = None
    file: Any = None
    trace: Trace | None = None
    notes: tuple[str, ...] = ()
    front: TokenFront | None = None

    def fed(self, dataset: Dataset) -> Dataset:
        """A data set of the Keras model as one for its files."""
        return dataset if self.front is None else self.front.applied(dataset)

    @property
    def is_keras(self) -> bool:
        """Whether it can be trained, and looked into layer by layer."""
        return self.file is None

    @property
    def is_finished(self) -> bool:
        """Whether it is already converted."""
        return self.file is not None and not self.file.converts


def keras_source(model: keras.Model) -> Source:
    """A Keras model as a source."""
    from edgepress.compress.models import fingerprint
    from edgepress.deploy.exporters.tracing import input_names
    from edgepress.deploy.sources.keras_outputs import run_source

    return Source(
        model=model,
        run=partial(run_source, model),
        identify=partial(fingerprint, model),
        exporters=EXPORTERS,
        obstacles=preflight,
        input_names=input_names(model),
    )


def as_exported(source: Source) -> tuple[Source, list[str]]:
    """The source that files are made of and compared with.

    None that computes in 16-bit floats, with kernels that Keras's `quantize` rounded, or looks up
    texts.

    Returns:
        The source, and remarks where it is another one.

    Raises:
        InputError: The Keras model can't be rebuilt, or its files couldn't be fed with samples.
    """
    from edgepress.deploy.lowerings import float_kernels, float_types

    if not source.is_keras:
        return source, []
    parts = split_off(source.model)
    front, model = parts if parts is not None else (source.front, source.model)
    check_samples(model)
    remarks = [float_kernels.remark(model), float_types.remark(model)]
    if parts is None and not any(remarks):
        return source, []
    if any(remarks):
        model = float_types.in_single_precision(float_kernels.with_float_kernels(model))
    raised = replace(keras_source(model), identify=source.identify, notes=source.notes, front=front)
    notes = [parts[0].remark()] if parts is not None else []
    return raised, [*notes, *(remark for remark in remarks if remark)]


def files_data(source: Source, dataset: Dataset) -> Dataset:
    """A data set of a model as one for its files."""
    parts = split_off(source.model) if source.is_keras else None
    return dataset if parts is None else parts[0].applied(dataset)


# Precisions whose files can leave the waves that sounds are held against in floats.
_FEATURES_IN_FLOATS = {"tflite": ("float32", "float16", "int8"), "onnx": ("float32", "float16"),
                       "c": ("float32", "int8")}  # fmt: skip


def carrying_features(source: Source, dataset: Dataset | None) -> tuple[Source, Dataset]:
    """The source whose files take sounds and compute their features themselves.

    Returns:
        It, and the data set of plain sounds.

    Raises:
        InputError: It is no Keras model, or the data set holds no sounds.
    """
    if not source.is_keras:
        raise InputError("--with-features needs a Keras model", "export the model that was trained")
    model, plain = with_features(source.model, dataset)

    def obstacles(job: Job, formats: Sequence[str]) -> tuple[Obstacle, ...]:
        refused = (
            Obstacle(
                name,
                precision,
                "",
                f"{precision} {name} files would round the waves of --with-features;"
                " leave the features out, or take float32",
            )
            for name in formats
            for precision in job.settings.quantize
            if precision not in _FEATURES_IN_FLOATS.get(name, ())
        )
        return (*refused, *preflight(job, formats))

    carrying = replace(
        keras_source(model), identify=source.identify, notes=source.notes, obstacles=obstacles
    )
    return carrying, plain


def taking(
    source: Source, dataset: Dataset | None, inputs: Sequence[TensorSpec]
) -> tuple[Source, Dataset | None]:
    """A source and its data set as a file takes them, which may carry features of sounds along.

    Args:
        source: The source.
        dataset: Its data set, or None.
        inputs: Of the file.
    """
    sound = sound_of(dataset)
    if not source.is_keras or sound is None or sound.features is None or len(inputs) != 1:
        return source, dataset
    plain = tuple(inputs[0].shape[1:]) == (sound.samples,)
    own = tuple(source.model.inputs[0].shape[1:]) == (sound.samples,)
    return carrying_features(source, dataset) if plain and not own else (source, dataset)
