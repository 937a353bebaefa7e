"""A `.keras` file opened for looking at: its layers are built, its numbers stay where they are.

Most of the time that Keras takes to load a network of many layers goes into making TensorFlow's
variables, and all of the memory of a large one.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.models.guarding.archives import open_archive
from edgepress.compress.models.guarding.hdf5 import WEIGHTS, open_weights
from edgepress.compress.models.reading import check_file
from edgepress.compress.models.stored.entries import variable_names

if TYPE_CHECKING:
    import h5py
    import keras
    from numpy.typing import DTypeLike

_TEXTS = ("metadata.json", "config.json")
# Their values or assets are part of what they compute from, or they run code of their own.
_STATEFUL = frozenset({
    "Discretization", "FlaxLayer", "HashedCrossing", "Hashing", "IntegerLookup", "JaxLayer",
    "Lambda", "Normalization", "SpectralNormalization", "StringLookup", "TFSMLayer",
    "TextVectorization", "TorchModuleWrapper",
})  # fmt: skip


@dataclass(frozen=True)
class StoredModel:
    """A model that can be looked at, not run.

    Attributes:
        model: The Keras model; its variables read their values from the file.
        bytes: Size of the model as a `.keras` file without optimizer state; None where the file
            holds such a state.
    """

    model: keras.Model
    bytes: int | None


class StoredValue:
    """What stands for a variable's tensor: read again each time somebody asks for it."""

    def __init__(self, dataset: h5py.h5d.DatasetID, dtype: str) -> None:
        self._dataset = dataset
        self.dtype = np.dtype(dtype)
        self.shape = tuple(dataset.shape)

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> np.ndarray[Any, Any]:
        import h5py

        found = np.asarray(h5py.Dataset(self._dataset)[()])
        return found.astype(self.dtype if dtype is None else dtype, copy=False)

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values."""
        return self.__array__()


@contextmanager
def stored_model(path: Path, fits: Callable[[keras.Layer], bool]) -> Iterator[StoredModel | None]:
    """Open a `.keras` file of Keras 3 whose layers are all Keras's own, for looking at.

    Args:
        path: The file.
        fits: Whether all that is wanted of a layer can be had from its settings and weights.

    Yields:
        The model; None where it must be loaded.
    """
    with ExitStack() as opened:
        yield _found(path, fits, opened)


def _found(
    path: Path, fits: Callable[[keras.Layer], bool], opened: ExitStack
) -> StoredModel | None:
    try:
        settings = _settings(path)
        if settings is None:
            return None
        archive = opened.enter_context(open_archive(path))
        return _opened(settings, opened.enter_context(open_weights(archive, path)), fits, path)
    except Exception:  # whatever is wrong with the file, loading it says
        return None


def _opened(
    settings: str, weights: h5py.File, fits: Callable[[keras.Layer], bool], path: Path
) -> StoredModel | None:
    from keras.src.saving import saving_lib

    with _without_values():
        model = saving_lib._model_from_config(settings, None, False, True)
    layers = model._flatten_layers(include_self=False)
    if not model.built or not model.inputs or not all(map(fits, layers)):
        return None
    if not _attached(model, variable_names(model), weights.id):
        return None
    alone = not any(name in weights for name in ("optimizer", "_optimizer"))
    return StoredModel(model, _bytes(model, path) if alone else None)


def _bytes(model: keras.Model, path: Path) -> int:
    """Size of a file that holds no state of an optimizer, with the model's settings as they are."""
    from keras.src.saving import saving_lib

    with open_archive(path) as archive:
        before = sum(archive.getinfo(name).file_size for name in _TEXTS)
    now = sum(len(text.encode()) for text in saving_lib._serialize_model_as_json(model))
    return path.stat().st_size - before + now


@contextmanager
def _without_values() -> Iterator[None]:
    """Variables that are made have a shape and a type, and no value."""
    import keras
    from keras.src.backend.common import global_state

    waiting = "uninitialized_variables"
    before = global_state.get_global_attribute(waiting)
    # A list of their own: Keras would give values to all that wait in its one.
    global_state.set_global_attribute(waiting, [])
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        global_state.set_global_attribute(waiting, before)


def _attached(
    model: keras.Model, names: Mapping[str, keras.Variable], weights: h5py.h5f.FileID
) -> bool:
    """Let every variable read its value from its dataset; False where one has none that fits."""
    from h5py import h5a, h5o

    for name, variable in names.items():
        dataset = h5o.open(weights, name.encode())
        if h5a.exists(dataset, b"dtype") or dataset.dtype.kind not in "fiub":
            return False
        if tuple(dataset.shape) != tuple(variable.shape):
            return False
        variable._value = StoredValue(dataset, variable.dtype)
        variable._initializer = None
    return all(variable._value is not None for variable in model.weights)


def _settings(path: Path) -> str | None:
    """The configuration of a model that can be looked at without being loaded; else None."""
    from edgepress.compress.models.legacy import is_older

    if path.suffix != ".keras" or not path.is_file() or not zipfile.is_zipfile(path):
        return None
    check_file(path)
    if is_older(path):
        return None
    with open_archive(path) as archive:
        members = archive.infolist()
        stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
        if {member.filename for member in members} != {*_TEXTS, WEIGHTS} or not stored:
            return None
        settings = archive.read("config.json").decode()
    return settings if _is_plain(json.loads(settings)) else None


def _is_plain(settings: object) -> bool:
    """Whether a configuration names nothing but what Keras itself defines."""
    if isinstance(settings, list):
        return all(map(_is_plain, settings))
    if not isinstance(settings, dict):
        return True
    name = settings.get("class_name")
    if name is not None and not str(name).startswith("__"):
        module = str(settings.get("module"))
        if name in _STATEFUL or not (module == "keras" or module.startswith("keras.")):
            return False
        if "Quantized" in str(name):
            return False
    return all(
        _is_plain(value)
        for key, value in settings.items()
        if key not in ("compile_config", "build_config")
    )
