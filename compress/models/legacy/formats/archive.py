"""Reading the `.keras` archives that tf_keras (Keras 2.12 and later) writes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.errors import InputError
from edgepress.compress.models.guarding.archives import open_archive
from edgepress.compress.models.guarding.hdf5 import open_weights
from edgepress.compress.models.legacy.formats.optimizer_slots import archive_slots
from edgepress.compress.models.legacy.formats.saved_model import LayerWeights, Saved, Weight, plain

if TYPE_CHECKING:
    import h5py


def read_archive(path: Path) -> Saved:
    """Read a `.keras` archive.

    Args:
        path: The file.

    Returns:
        The configuration and the weights, by their place in the archive.

    Raises:
        InputError: The archive is damaged or holds no model.
    """
    try:
        with open_archive(path) as archive:
            config = plain(json.loads(archive.read("config.json")))
            metadata = json.loads(archive.read("metadata.json"))
            with open_weights(archive, path) as file:
                root, slots = _tree(file), archive_slots(file)
    except (zipfile.BadZipFile, OSError, KeyError, EOFError, json.JSONDecodeError) as error:
        raise InputError(
            f"'{path}' is an incomplete .keras archive: {error}", "copy or download it again"
        ) from None
    return Saved(
        model=config,
        weights={"": root},
        keras=str(metadata.get("keras_version", "2.")),
        backend="tensorflow",
        what=f"a .keras archive of Keras {metadata.get('keras_version', '2')}",
        training=_training(config),
        optimizer=slots,
    )


def _training(config: Any) -> dict[str, Any] | None:
    """What the model was compiled with, under HDF5's name of the optimizer."""
    compiled = config.get("compile_config") if isinstance(config, dict) else None
    if not isinstance(compiled, dict):
        return None
    return {**compiled, "optimizer_config": compiled.get("optimizer")}


def archive_version(path: Path) -> str:
    """The version of Keras that wrote a `.keras` archive; empty where it doesn't say."""
    try:
        with open_archive(path) as archive:
            metadata = json.loads(archive.read("metadata.json"))
    except (zipfile.BadZipFile, OSError, KeyError, EOFError, ValueError, RecursionError):
        return ""
    return str(metadata.get("keras_version", "")) if isinstance(metadata, dict) else ""


def _tree(group: h5py.Group) -> LayerWeights:
    own = group.get("vars", {})
    return LayerWeights(
        own=tuple(Weight("", np.asarray(own[key])) for key in sorted(own, key=int)),
        children={
            name: _tree(child)
            for name, child in group.items()
            if name != "vars" and hasattr(child, "keys")
        },
    )
