"""Training for int8 before an export: what of the model takes part, and what there is to say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from edgepress.compress.kernel.artifact import Artifact
from edgepress.compress.kernel.progress import Progress
from edgepress.compress.models.untrained import initial_weights
from edgepress.deploy.exporters.layer_marks import names_in_floats
from edgepress.deploy.exporting.float_ends import outputs_to_keep
from edgepress.deploy.quantize.float_tail import note_of
from edgepress.deploy.specs.export import TRAINED_FORMATS, ExportSpec

if TYPE_CHECKING:
    import keras

    from edgepress.compress.data import Dataset

# Samples by which a model's outputs are looked at before it is trained.
_LOOKED_AT = 128


def trained_for_int8(
    model: keras.Model, dataset: Dataset, asked: ExportSpec, seed: int, progress: Progress
) -> tuple[Any, tuple[str, ...]]:
    """A model trained for the int8 files of an export.

    Args:
        model: The Keras model; stays as it is.
        dataset: Opened for it.
        asked: The export's options.
        seed: Draws order and samples.
        progress: Is told of every step.

    Returns:
        The new model, and what there is to say of it.
    """
    from edgepress.deploy.quantize.kept_floats import float_end
    from edgepress.deploy.quantize.qat import train_quantised

    samples = dataset.calibration(_LOOKED_AT, seed)
    kept = outputs_to_keep(model, samples) if asked.io == "float" else ()
    trained = train_quantised(
        model,
        dataset,
        asked.qat_epochs,
        seed=seed,
        progress=progress,
        float_outputs=kept,
        in_floats=names_in_floats(model, asked),
    )
    notes = []
    if kinds := float_end(model, kept).values():
        notes.append(f"trained for int8 with {note_of(list(kinds))}")
    if fresh := initial_weights(model):
        notes.append(
            "training for int8 began with a model that was never trained (its"
            f" {', '.join(fresh)} hold their initial values): run finetune first"
        )
    return trained, tuple(notes)


def untrained_files(spec: ExportSpec, artifacts: Sequence[Artifact]) -> Iterator[str]:
    """What is to be said of int8 files that the training for int8 isn't for."""
    for artifact in artifacts:
        if spec.qat_epochs and artifact.quantize == "int8":
            yield (
                f"{artifact.path.name}: made of the model as it was, its ranges taken from samples:"
                f" --qat-epochs trains for {' and '.join(sorted(TRAINED_FORMATS))} alone"
            )


def parts_of(spec: ExportSpec) -> Iterator[tuple[list[tuple[str, str]], bool]]:
    """Formats with precisions, those first that are made of a model which is trained for them."""
    pairs = [(f, q) for f in spec.formats for q in spec.quantize]
    trained = [(f, q) for f, q in pairs if spec.qat_epochs and q == "int8" and f in TRAINED_FORMATS]
    for part, trains in ((trained, True), ([p for p in pairs if p not in trained], False)):
        if part:
            yield part, trains
