"""Carrying a file of another Keras into Keras 3."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import reason
from edgepress.compress.models.legacy.assembly.building import Builder
from edgepress.compress.models.legacy.formats.archive import archive_version, read_archive
from edgepress.compress.models.legacy.formats.hdf5 import hdf5_version, read_hdf5
from edgepress.compress.models.legacy.formats.saved_model import Saved
from edgepress.compress.models.legacy.formats.savedmodel import read_saved_model
from edgepress.compress.models.legacy.state.optimizers import carry_optimizer
from edgepress.compress.models.legacy.state.weights import move
from edgepress.compress.models.unknown_names import UnknownName, all_unknown, stand_in


@dataclass(frozen=True)
class Carried:
    """A converted model.

    Args:
        model: The Keras 3 model.
        notes: What was translated, one sentence each.
        optimizer: Its optimizer as it was saved, built; None where no state was carried.
    """

    model: Any
    notes: tuple[str, ...]
    optimizer: Any = None


def carry(path: Path | str, custom_objects: Mapping[str, Any] | None = None) -> Carried:
    """Carry a Keras 1, Keras 2 or tf.keras model into Keras 3.

    Args:
        path: `.h5`, `.hdf5` or `.keras` file, or a SavedModel folder.
        custom_objects: The user's own layers and functions, by name.

    Returns:
        The model, not compiled, and what was changed on the way.

    Raises:
        InputError: It holds no model, runs Python code, or holds a layer that isn't known.
    """
    import keras

    objects = dict(custom_objects or {})
    saved = _read(Path(path))
    with keras.saving.custom_object_scope(objects):
        builder = Builder(objects, saved.is_keras1, saved.traced)
        try:
            try:
                model = builder.model(saved.model)
            except UnknownName as error:
                raise all_unknown(str(path), _all_names(error, saved, objects)) from None
            move(model, builder, saved)
            _correct(builder)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise InputError(
                f"'{path}' holds an incomplete configuration: {reason(error)}",
                "save the model again, or build it in a function and give file.py:function",
            ) from error
    optimizer, remarks = carry_optimizer(model, builder, saved)
    notes = (f"read from {saved.what}", *saved.notes, *_notes(saved, builder), *remarks)
    return Carried(model, notes, optimizer)


def _all_names(first: UnknownName, saved: Saved, objects: Mapping[str, Any]) -> list[UnknownName]:
    """The names that aren't known, found by building the model with something in their place."""
    import keras

    found, known = [first], dict(objects)
    while True:
        known[found[-1].name] = stand_in(found[-1].kind)
        try:
            with keras.saving.custom_object_scope(known):
                Builder(known, saved.is_keras1, saved.traced).model(saved.model)
            return found
        except UnknownName as error:
            if error.name in known:
                return found
            found.append(error)
        except Exception:  # what stands in may not fit what comes behind it
            return found


def _correct(builder: Builder) -> None:
    """Replace classes of Keras 3 that compute something else than the saved layer did."""
    from edgepress.compress.models.compat_layers.convolutions import corrected

    for member in [member for found in builder.members.values() for member in found]:
        if corrected(getattr(member.layer, "layer", member.layer)) or corrected(member.layer):
            builder.remark(member.name, "adds its bias along the channels, as Keras 2 did")


def is_older(path: Path) -> bool:
    """Whether a file was written by a Keras before 3, as far as it says.

    Keras 3 loads some of them, but with changed formulas (its hard sigmoid, for one), so they are
    converted even where Keras 3 wouldn't refuse them.

    Args:
        path: A model file or folder.
    """
    if path.is_dir():
        return True
    if zipfile.is_zipfile(path):
        return archive_version(path).startswith("2.")
    return not hdf5_version(path).startswith("3.")


def _read(path: Path) -> Saved:
    if path.is_dir():
        return read_saved_model(path)
    return read_archive(path) if zipfile.is_zipfile(path) else read_hdf5(path)


def _notes(saved: Saved, builder: Builder) -> list[str]:
    """What the builder remarked, and what to know of kernels that Theano may have written.

    Theano's convolutions flip the kernel. Keras names its backend from version 2 on.
    """
    members = [member for found in builder.members.values() for member in found]
    convolved = [member for member in members if "Conv" in member.class_name]
    first = [m for m in convolved if m.config.get("dim_ordering") == "th"]
    if saved.backend == "theano" and convolved:
        text = "written by Theano"
    elif saved.is_keras1 and not saved.backend and first:
        text = "Keras 1 doesn't say its backend; the order 'th' hints at Theano"
    else:
        return builder.notes
    return [
        *builder.notes,
        f"{text}: kernels are taken as they are, not flipped; if the outputs look wrong, flip the "
        "kernels of the convolutions",
    ]
