"""What an exporter is: what it is given, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.compress.errors import EdgepressError
from edgepress.deploy.exporters.tracing import TracedModel, trace_model
from edgepress.deploy.lowerings.operations import Destination
from edgepress.deploy.process.worker import Worker
from edgepress.deploy.specs.export import ExportSpec

if TYPE_CHECKING:
    import keras

Shapes = Mapping[str, Sequence[int]]
# Writes a model's graph into a folder, with this batch size and these sizes where they are free.
Trace = Callable[[Worker, Path, int | None, Shapes], TracedModel]


class Unsupported(EdgepressError):
    """A combination of model, format and precision that doesn't exist; says why."""


@dataclass
class Job:
    """One model to be exported, and what its files share.

    Attributes:
        model: The Keras model.
        settings: What is asked for; a new option of `ExportSpec` is found here.
        worker: Where converters run.
        scratch: A folder for what files are made from.
        probe: A few samples by graph input name.
        calibration: The representative data set, a .npz by graph input name, or None.
        data_sizes: Sizes of the data's samples by input name, where the model leaves them free.
        trace: Writes the graph of a model that only stands in for a file; None for a Keras model.
        class_names: Names of the classes of the data, where it names them.
        float_tail: How much at the end of int8 files stays in floats: 0 nothing, 1 what only joins
            and scales values, 2 also what that reads.
        settles: Whether free sizes become those of the data in TFLite, whose converter refused to
            leave them free.
    """

    model: Any
    settings: ExportSpec
    worker: Worker
    scratch: Path
    probe: Path
    calibration: Path | None
    data_sizes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    trace: Trace | None = None
    class_names: tuple[str, ...] = ()
    float_tail: int = 0
    settles: bool = False
    _graphs: dict[str, TracedModel] = field(default_factory=dict)
    _failures: dict[str, EdgepressError] = field(default_factory=dict)

    def graph(
        self,
        batch: int | None,
        settled: bool = False,
        unrolled: bool = False,
        destination: Destination = "float",
        marked: bool = False,
    ) -> TracedModel:
        """The model's graph, traced once for each kind.

        Args:
            batch: Batch size, or None to leave it free.
            settled: Whether other free sizes are those of the data.
            unrolled: Whether recurrent layers are unrolled.
            destination: Whom it is for; see `lowered_operations`. What is made from a file has one
                graph for all.
            marked: Whether layers are marked; see `layer_marks`.

        Raises:
            ValueError: The recurrent layers can't be unrolled.
        """
        from edgepress.deploy.lowerings.recurrent import unroll
        from edgepress.deploy.quantize.merging import merge_branches

        shapes = self.sizes if settled else self.settings.shapes
        settled = shapes != self.settings.shapes  # otherwise it is the same graph
        key = f"{batch}-{settled}-{unrolled}-{'float' if self.trace is not None else destination}"
        key += "-marked" if marked else ""
        if key not in self._graphs:
            if self.trace is not None:
                self._graphs[key] = self.trace(self.worker, self.scratch / key, batch, shapes)
                return self._graphs[key]
            # Marks are those of the layers as they are named.
            model = self.model if marked else merge_branches(self.model)
            model = unroll(model) if unrolled else model
            self._graphs[key] = trace_model(
                model, self.scratch / key, batch, shapes, destination, marked
            )
        return self._graphs[key]

    def made_once(self, name: str, make: Callable[[Path], object]) -> Path:
        """A file in scratch that several files are made from; a failure to make it is final.

        Args:
            name: Of the file.
            make: Writes it.

        Raises:
            EdgepressError: What `make` raised when it was called.
        """
        path = self.scratch / name
        if name in self._failures:
            raise self._failures[name]
        if not path.exists():
            try:
                make(path)
            except EdgepressError as error:
                self._failures[name] = error
                raise
        return path

    def with_model(self, model: keras.Model, name: str) -> Job:
        """The same job for another model of the same inputs and outputs, with its own scratch."""
        scratch = self.scratch / name
        scratch.mkdir()
        return replace(self, model=model, scratch=scratch, _graphs={}, _failures={})

    def with_method(self, method: str) -> Job:
        """The same job, graphs shared, with another calibration method."""
        return replace(
            self, settings=self.settings.model_copy(update={"calibration_method": method})
        )

    @property
    def carries_ranges(self) -> bool:
        """Whether the model says itself in which range each activation lies."""
        from edgepress.deploy.quantize.qat import is_quantisation_aware

        return is_quantisation_aware(self.model)

    @property
    def sizes(self) -> dict[str, Sequence[int]]:
        """Sizes by input name, where the model leaves them free: as asked, else the data's."""
        return {**self.data_sizes, **self.settings.shapes}


@dataclass(frozen=True)
class Written:
    """What an exporter wrote.

    Attributes:
        runnable: The file that a runtime loads: `out` itself, or what `out` was made from.
        beside: Further files, in the folder of `out`.
        notes: What people should know of the files.
        versions: Versions of the format that the file is written in.
        layers: The precision that layers got which were asked for by name.
        arena_bytes: The arena that the sources give TensorFlow Lite Micro, or compute in
            themselves; None of other files.
        stored: What of it lies in flash, where that is another file than `runnable`.
    """

    runnable: Path
    beside: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    layers: Mapping[str, str] = field(default_factory=dict)
    arena_bytes: int | None = None
    stored: Path | None = None


class Write(Protocol):
    """Writes one file."""

    def __call__(self, job: Job, precision: str, out: Path) -> Written:
        """Write the model of `job` to `out`.

        Returns:
            What was written.

        Raises:
            Unsupported: The model has no such file.
            DeviceError: The converter refused or crashed.
        """


@dataclass(frozen=True)
class Exporter:
    """A file format.

    Attributes:
        suffix: Ending of its files.
        precisions: Precisions that it has, by name.
        integer_io: Those of them whose inputs and outputs can be integers.
        write: Writes one file.
        absent: Why it lacks a precision, by name, where there is more to say than that.
        task: What its converter's process is asked first, so that it can begin to load it; empty
            where it needs none.
        open: What runs the file that `write` names as runnable.
    """

    suffix: str
    precisions: frozenset[str]
    integer_io: frozenset[str]
    write: Write
    absent: Mapping[str, str] = field(default_factory=dict)
    task: str = ""
    open: Callable[[Path], Runtime] = Runtime

    def refusal(self, name: str, precision: str, io: str) -> str:
        """Why a combination doesn't exist; empty if it does."""
        if precision not in self.precisions:
            return self.absent.get(precision, f"{name} has no {precision}")
        quantised = precision.startswith("int") and not precision.endswith("weights")
        if io != "float" and quantised and precision not in self.integer_io:
            return f"{name} {precision} has float inputs and outputs only"
        return ""
