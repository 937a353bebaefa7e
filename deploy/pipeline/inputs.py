"""What a run reads, as a key: what was found with other inputs isn't found again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgepress.compress.data.readers.fingerprints import folder_hash
from edgepress.compress.kernel.boundary import may_name_files
from edgepress.compress.kernel.files import content_key, sha256
from edgepress.compress.models.fingerprints import configuration, fingerprint
from edgepress.compress.models.user_code import is_reference
from edgepress.deploy.recipe import Recipe

if TYPE_CHECKING:
    import keras

    from edgepress.compress.data import Dataset

# Whose layers change with the version of their package, which runs know by itself.
_PUBLISHED = ("keras", "edgepress", "tensorflow")


def inputs_key(recipe: Recipe, model: keras.Model, dataset: Dataset) -> str:
    """A key that changes with whatever a recipe's training and export read.

    That is the model with its configuration, the data, and the content of the files that the recipe
    names: layers, losses and functions of the user's own, a teacher, sounds to mix in.

    Args:
        recipe: Names the files.
        model: The model, loaded.
        dataset: The data, opened.
    """
    return content_key(
        fingerprint(model),
        configuration(model) or "",
        dataset.fingerprint,
        dataset.task.text(),
        sorted(_content(path) for path in {*_named(recipe), *_own_layers(model)}),
    )


def _content(path: Path) -> str:
    return folder_hash(path) if path.is_dir() else sha256(path)


def _named(recipe: Recipe) -> Iterator[Path]:
    """Files and folders that a recipe names, beside those of the model and the data."""
    tree = recipe.model_dump(
        mode="json", exclude={"model": True, "data": {"spec"}, "benchmark": True}
    )
    references = (recipe.model, recipe.data.spec)
    texts = [
        *may_name_files(tree),
        *(t for t in references if isinstance(t, str) and is_reference(t)),
    ]
    for text in texts:
        for name in (text, text.rpartition(":")[0]):
            path = Path(name) if name.strip("./") else None
            if path is not None and path.exists():
                yield path.absolute()


def _own_layers(model: keras.Model) -> Iterator[Path]:
    """The files that define layers of a model which are nobody else's."""
    for layer in model._flatten_layers():
        name = type(layer).__module__
        file = getattr(sys.modules.get(name), "__file__", None)
        if name.partition(".")[0] not in _PUBLISHED and file is not None and Path(file).is_file():
            yield Path(file).absolute()
