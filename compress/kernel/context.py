"""What travels together through a pruning, and what can be measured on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgepress.compress.kernel.progress import Progress, Silent

if TYPE_CHECKING:
    import keras


class Instruments(Protocol):
    """Measures what this package can't: it knows neither files of other kinds nor devices."""

    def size(self, model: keras.Model) -> float:
        """Bytes of the model as a float32 TFLite file."""

    def packed_size(self, model: keras.Model, packing: str) -> float:
        """Bytes of the model as a float32 TFLite file, packed as gzip or zstd do."""

    def arena(self, model: keras.Model) -> float:
        """Bytes of that file's activations in RAM."""

    def latency(self, model: keras.Model) -> float:
        """Milliseconds of one inference of that file on the device."""

    def layer_times(self, sizes: Sequence[Any]) -> Mapping[Any, float]:
        """Milliseconds of each layer (a `LayerSize`) alone on the device."""


@dataclass(frozen=True)
class Context:
    """What a pruning gets beside the model, the data and the step.

    Attributes:
        seed: Makes the run repeatable.
        state_dir: Folder for the checkpoints of the trainings, from which an interrupted run goes
            on; None keeps none.
        progress: Receives the progress.
        instruments: Measures files and devices, for targets that need it.
        shared: Folder of what several runs have in common, such as scores on data; None where
            there are no others.
    """

    seed: int = 0
    state_dir: Path | None = None
    progress: Progress = field(default_factory=Silent)
    instruments: Instruments | None = None
    shared: Path | None = None


def make_context(given: Context | None, fields: Mapping[str, Any]) -> Context:
    """The context that was given, or one of its fields; None among them means the default."""
    return given or Context(**{name: v for name, v in fields.items() if v is not None})
