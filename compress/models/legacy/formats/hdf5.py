"""Reading the HDF5 files of Keras 1, Keras 2 and tf.keras."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.errors import InputError
from edgepress.compress.models.guarding.hdf5 import open_hdf5
from edgepress.compress.models.legacy.formats.saved_model import LayerWeights, Saved, Weight, plain

if TYPE_CHECKING:
    import h5py


def read_hdf5(path: Path) -> Saved:
    """Read a model file in HDF5.

    Args:
        path: The file.

    Returns:
        The configuration and the weights.

    Raises:
        InputError: It is no HDF5 file, is damaged, or holds no model.
    """
    try:
        with open_hdf5(path) as file:
            return _read(path, file)
    except BlockingIOError:
        raise
    except (OSError, RuntimeError, KeyError) as error:
        raise InputError(
            f"'{path}' is a damaged or truncated HDF5 file: {error}",
            "copy or download it again",
        ) from None


def hdf5_version(path: Path) -> str:
    """The version of Keras that wrote an HDF5 file; empty where it doesn't say."""
    try:
        with open_hdf5(path) as file:
            return _text(file.attrs.get("keras_version", ""))
    except OSError:
        return ""


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _read(path: Path, file: h5py.File) -> Saved:
    if "model_config" not in file.attrs:
        raise _no_model(path, file)
    try:
        config = plain(json.loads(_text(file.attrs["model_config"])))
    except json.JSONDecodeError as error:
        raise InputError(
            f"'{path}' holds a damaged model configuration: {error}", "save the model again"
        ) from None
    group = file.get("model_weights", file)
    attrs = {**dict(group.attrs), **dict(file.attrs)}
    version = _text(attrs.get("keras_version", ""))
    return Saved(
        model=config,
        weights=_weights(group),
        keras=version if "." in version or not version else f"{version}.",
        backend=_text(attrs.get("backend", "")),
        what=f"an HDF5 file of Keras {version}" if version else "an HDF5 file of an old Keras",
        training=_training(attrs.get("training_config")),
        optimizer=_optimizer(file),
    )


def _training(text: Any) -> dict[str, Any] | None:
    """What the model was compiled with; a damaged text of it doesn't keep a model from loading."""
    try:
        found = plain(json.loads(_text(text))) if text is not None else None
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _optimizer(file: h5py.File) -> tuple[Weight, ...]:
    """The optimizer's arrays; none where one of them is missing."""
    try:
        return _arrays(file["optimizer_weights"])
    except KeyError:
        return ()


def _names(group: h5py.Group, kind: str) -> list[str]:
    """A list of names; Keras splits long ones over numbered attributes."""
    if kind in group.attrs:
        return [_text(name) for name in group.attrs[kind]]
    names: list[str] = []
    while f"{kind}{len(names)}" in group.attrs and not names:
        part = 0
        while f"{kind}{part}" in group.attrs:
            names += [_text(name) for name in group.attrs[f"{kind}{part}"]]
            part += 1
    return names


def _weights(group: h5py.Group) -> dict[str, LayerWeights]:
    layers = _names(group, "layer_names") or list(group)
    found = {name: _layer(group[name]) for name in layers if name in group}
    if "top_level_model_weights" in group:
        found["top_level_model_weights"] = _layer(group["top_level_model_weights"])
    return found


def _layer(group: h5py.Group) -> LayerWeights:
    return LayerWeights(flat=_arrays(group))


def _arrays(group: h5py.Group) -> tuple[Weight, ...]:
    names = _names(group, "weight_names")
    return tuple(Weight(name, np.asarray(group[name])) for name in names)


def _no_model(path: Path, file: h5py.File) -> InputError:
    """Say what an HDF5 file is that holds no model configuration."""
    if "layer_names" in file.attrs or "layer_names0" in file.attrs or "layers" in file:
        count = len(_names(file, "layer_names") or list(file.get("layers", ())))
        return InputError(
            f"'{path}' holds the weights of {count} layers but no model",
            "build the model in a function that calls load_weights on this file, and give "
            "file.py:function",
        )
    if "nb_layers" in file.attrs:
        return InputError(
            f"'{path}' holds the weights of {int(file.attrs['nb_layers'])} layers but no model",
            "it was written by save_weights of Keras 0: build the model in a function that takes"
            " the arrays from it, and give file.py:function",
        )
    if "_layer_checkpoint_dependencies" in file or "vars" in file:
        return InputError(
            f"'{path}' holds weights but no model",
            "build the model in a function that calls load_weights, and give file.py:function",
        )
    keys = ", ".join(list(file)[:5]) or "nothing"
    return InputError(
        f"'{path}' is an HDF5 file, but not one of Keras: it holds {keys}",
        "give a file written by model.save()",
    )
