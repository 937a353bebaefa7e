"""Everything about a model and its data that will be a problem later, found in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepress.compress.doctor.findings import Diagnosis, Finding, ranked

if TYPE_CHECKING:
    from edgepress.compress.typing import DataLike, ModelLike

__all__ = ["Diagnosis", "Finding", "doctor", "ranked"]


def doctor(model: ModelLike, data: DataLike | None = None, seed: int = 0) -> Diagnosis:
    """Look for what will be a problem later.

    Args:
        model: A Keras model, or what `compress.load` takes.
        data: Data that it will be fine-tuned, pruned or verified on, as `open_data` takes it.
        seed: Draws the samples that are looked at.

    Returns:
        The findings, the worst first.

    Raises:
        InputError: The model or the data can't be opened.
    """
    from edgepress.compress.data import open_data
    from edgepress.compress.doctor.model_checks import MODEL_CHECKS
    from edgepress.compress.models import load_noted

    loaded = load_noted(model)
    model = loaded.model
    found = [Finding("note", "graph", "", note) for note in loaded.notes]
    found += [finding for check in MODEL_CHECKS for finding in check(model)]
    if data is not None:
        from edgepress.compress.doctor.data_checks import check_data

        found += check_data(model, open_data(data, model, seed), seed)
    return Diagnosis(str(model.name), ranked(found))
