"""What files are made from and compared with: a Keras model, or a file of another kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edgepress.deploy.exporters import EXPORTERS, Exporter, Job
from edgepress.deploy.exporters.exporter import Trace
from edgepress.deploy.exporters.preflight import Obstacle, check_samples, preflight

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

    @property
    def is_keras(self) -> bool:
        """Whether it can be trained, and looked into layer by layer."""
        return self.file is None

    @property
    def is_finished(self) -> bool:
        """Whether it is a file that no converter makes anew."""
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

    None that computes in 16-bit floats, or with kernels that Keras's `quantize` rounded.

    Returns:
        The source, and remarks where it is another one.

    Raises:
        InputError: The Keras model can't be rebuilt, or its files couldn't be fed with samples.
    """
    from edgepress.deploy.lowerings import float_kernels, float_types

    if not source.is_keras:
        return source, []
    model = source.model
    check_samples(model)
    remarks = [float_kernels.remark(model), float_types.remark(model)]
    if not any(remarks):
        return source, []
    model = float_types.in_single_precision(float_kernels.with_float_kernels(model))
    raised = replace(keras_source(model), identify=source.identify, notes=source.notes)
    return raised, [remark for remark in remarks if remark]
