"""What files are made from and compared with: a Keras model, or a file of another kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgepress.compress.errors import InputError
from edgepress.deploy.exporters import EXPORTERS, Exporter, Job
from edgepress.deploy.exporters.exporter import Trace
from edgepress.deploy.exporters.preflight import Obstacle, check_samples, preflight

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
        file: The opened file or folder (`foreign.kind.ForeignFile`), where it is no Keras model.
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


def keras_source(model: Any) -> Source:
    """A Keras model as a source."""
    from edgepress.compress.models import fingerprint
    from edgepress.deploy.exporters.tracing import input_names
    from edgepress.deploy.verification.source_outputs import run_source

    return Source(
        model=model,
        run=partial(run_source, model),
        identify=partial(fingerprint, model),
        exporters=EXPORTERS,
        obstacles=preflight,
        input_names=input_names(model),
    )


def as_exported(source: Source) -> tuple[Source, list[str]]:
    """The source that files are made of and compared with: none that computes in 16-bit floats.

    Returns:
        The source, and a remark where it is another one.

    Raises:
        InputError: The Keras model can't be rebuilt, or its files couldn't be fed with samples.
    """
    from edgepress.deploy.exporters.float_types import half_layers, in_single_precision

    if not source.is_keras:
        return source, []
    check_samples(source.model)
    halves = half_layers(source.model)
    if not halves:
        return source, []
    raised = replace(
        keras_source(in_single_precision(source.model)),
        identify=source.identify,
        notes=source.notes,
    )
    more = f" and {len(halves) - 1} others compute" if len(halves) > 1 else " computes"
    return raised, [f"layer '{halves[0]}'{more} in 16-bit floats: taken in 32 bits"]


def open_source(
    model: Any,
    custom_objects: Path | str | Mapping[str, Any] | None = None,
    unsafe_lambda: bool = False,
) -> Source:
    """Open what people call a model: what `compress.load` takes, and TFLite, ONNX and SavedModel.

    Args:
        model: As for `compress.load`; or a `.tflite` or `.onnx` file, or a SavedModel folder whose
            signature is taken where it holds no Keras model that can be carried over.
        custom_objects: As for `compress.load`.
        unsafe_lambda: As for `compress.load`.

    Returns:
        The source; the same one where it is one already.

    Raises:
        InputError: There is no such model, or it can't be opened.
    """
    from edgepress.compress.models import load_noted
    from edgepress.compress.models.other_kinds import NotKeras, is_there, other_kind
    from edgepress.deploy.foreign import open_foreign

    if isinstance(model, Source):
        return model
    path = Path(model) if isinstance(model, str | Path) else None
    if path is not None and other_kind(path) is not None:
        return open_foreign(path)
    try:
        loaded = load_noted(model, custom_objects, unsafe_lambda)
        return replace(keras_source(loaded.model), notes=loaded.notes)
    except NotKeras:
        if path is None:
            raise
        return open_foreign(path)
    except InputError as error:
        if custom_objects is not None or path is None or not is_there(path) or not path.is_dir():
            raise
        return _by_its_signature(path, error)


def finished_file(model: Any) -> Path | None:
    """The path of a `.tflite` or `.onnx` file; None for everything else."""
    from edgepress.compress.models.other_kinds import other_kind

    path = Path(model) if isinstance(model, str | Path) else None
    return path if path is not None and other_kind(path) is not None else None


def _by_its_signature(path: Path, why: InputError) -> Source:
    """A SavedModel whose Keras model can't be carried over.

    Raises:
        InputError: It has no signature that can be run either: `why` is what matters.
    """
    from edgepress.deploy.foreign import open_foreign

    try:
        source = open_foreign(path)
    except InputError:
        raise why from None
    note = f"the SavedModel's signature is taken, since its Keras model isn't: {why.message}"
    return replace(source, notes=(note, *source.notes))
