"""What a model file says of the training that it comes from: optimizer, its state, loss, metrics.

`load` leaves that out, for most of what follows needs none of it and a loss of the user's own would
have to be named. Who trains on asks for it here.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.models.guarding.archives import open_archive
from edgepress.compress.models.guarding.hdf5 import is_hdf5, open_hdf5, open_weights
from edgepress.compress.models.reading import Loaded
from edgepress.compress.models.user_code import custom_objects_of

if TYPE_CHECKING:
    import keras

# Classes of which the loaded model is the one that the optimizer was built for.
_WITH_A_GRAPH = ("Functional", "Sequential", "Model")


def restore_compilation(
    loaded: Loaded, source: Any, custom_objects: Path | str | Mapping[str, Any] | None = None
) -> str:
    """Compile a model that `load_noted` gave as its file says, with the optimizer's state.

    Args:
        loaded: The model, changed in place, and the optimizer that was carried with it.
        source: What it was loaded from. A `.keras` or `.h5` file of Keras 3 says everything; of a
            file of an older Keras the carried optimizer is taken; others say nothing.
        custom_objects: As for `load`: losses and metrics of the user's own.

    Returns:
        Why the model is not compiled although the file says how; else empty.
    """
    import keras

    model = loaded.model
    if loaded.optimizer is not None:
        model.compile(optimizer=loaded.optimizer)
        return ""
    try:
        saved = _read(Path(str(source)))
    except InputError:
        raise
    except Exception as error:  # settings of another form than Keras writes
        return _left_behind(source, error)
    if saved is None:
        return ""
    objects = custom_objects
    if objects is not None and not isinstance(objects, Mapping):
        objects = custom_objects_of(Path(objects))
    try:
        with keras.saving.custom_object_scope(dict(objects or {})):
            saved.compile(model)
    except Exception as error:  # whatever the user's own losses and metrics raise
        model.compiled, model.optimizer = False, None
        return _left_behind(source, error)
    _assign(model.optimizer, saved.state)
    return ""


def _left_behind(source: object, error: Exception) -> str:
    return (
        f"what '{source}' was compiled with can't be restored ({type(error).__name__}), so"
        " its optimizer's state is left behind"
    )


@dataclass(frozen=True)
class _Saved:
    """A file's compilation.

    Attributes:
        compile: Compiles a model in that way.
        state: The optimizer's variables in order.
    """

    compile: Callable[[Any], None]
    state: list[Any]


def _read(path: Path) -> _Saved | None:
    """What a file of Keras 3 was compiled with; None where it says nothing.

    The model of a subclass is flattened on loading, and then no longer the one that the
    optimizer's variables are counted by.
    """
    if not path.is_file():
        return None
    if zipfile.is_zipfile(path):
        return _read_archive(path)
    return _read_hdf5(path) if is_hdf5(path) else None


def _read_archive(path: Path) -> _Saved | None:
    with open_archive(path) as archive:
        version = json.loads(archive.read("metadata.json")).get("keras_version", "")
        config = json.loads(archive.read("config.json"))
        said = config.get("compile_config")
        if version.startswith("2.") or config.get("class_name") not in _WITH_A_GRAPH or not said:
            return None
        with open_weights(archive, path) as file:
            held = file.get("optimizer/vars", {})
            state = [held[str(i)][()] for i in range(len(held))]
    return _Saved(lambda model: model.compile_from_config(said), state)


def _read_hdf5(path: Path) -> _Saved | None:
    from keras.src.legacy.saving import legacy_h5_format, saving_utils

    with open_hdf5(path) as file:
        said = file.attrs.get("training_config")
        if not str(file.attrs.get("keras_version", "")).startswith("3.") or not said:
            return None
        state = []
        if "optimizer_weights" in file:
            held = legacy_h5_format.load_optimizer_weights_from_hdf5_group(file)
            state = [value[()] for value in held]

    def compile_model(model: keras.Model) -> None:
        config = json.loads(said)
        model.compile(**saving_utils.compile_args_from_training_config(config))
        model.optimizer.build(model.trainable_variables)

    return _Saved(compile_model, state)


def _assign(optimizer: keras.Optimizer, state: list[Any]) -> None:
    """Give an optimizer its saved variables, if they are those of this one."""
    shapes = [tuple(v.shape) for v in optimizer.variables]
    if shapes == [value.shape for value in state]:
        for variable, value in zip(optimizer.variables, state, strict=True):
            variable.assign(value)
