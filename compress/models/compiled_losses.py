"""Which losses a model was compiled with, by output, read without compiling it again."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from edgepress.compress.models.guarding.archives import open_archive
from edgepress.compress.models.guarding.hdf5 import is_hdf5, open_hdf5
from edgepress.compress.models.loss_objects import loss_object, unsaved_setting

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class _Said:
    """What a file says of a model that was loaded without being compiled.

    Attributes:
        compiled: Keras's configuration of it.
        objects: Losses of the user's own by name.
    """

    compiled: Mapping[str, Any]
    objects: Mapping[str, Any]


_SAID: WeakKeyDictionary[Any, _Said] = WeakKeyDictionary()
# The name that is used here for each of Keras's others.
_ALIASES = {
    "mean_squared_error": "mse",
    "mean_absolute_error": "mae",
    "bce": "binary_crossentropy",
    "kld": "kl_divergence",
    "kldivergence": "kl_divergence",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
}


@dataclass(frozen=True)
class CompiledLoss:
    """The loss of one output.

    Attributes:
        name: Keras's name of it, such as "binary_crossentropy"; that of a function of the user's
            own; or empty.
        from_logits: Whether it was told that outputs are logits; None where it was named only.
        weight: What it counts beside the other outputs' losses.
        object: The Keras loss itself; None where it can't be rebuilt from what a file says.
        unsaved: Name of a setting that Keras doesn't write into files, or empty.
    """

    name: str
    from_logits: bool | None = None
    weight: float = 1.0
    object: Any = field(default=None, compare=False)
    unsaved: str = ""


@dataclass(frozen=True)
class CompiledMetrics:
    """The metrics of one output, as `compile` was given them or as a configuration says them.

    Attributes:
        metrics: Those that count every sample alike.
        weighted: Those that count samples by their weights.
    """

    metrics: tuple[Any, ...] = ()
    weighted: tuple[Any, ...] = ()


def compiled_metrics(model: keras.Model, names: Sequence[str]) -> tuple[CompiledMetrics, ...]:
    """The metrics of each output as the model, or the file that it comes from, is compiled.

    Args:
        model: A Keras model.
        names: Names of its outputs in order.
    """
    kept = _SAID.get(model, _Said({}, {}))
    said = _said_by_model(model) or kept.compiled
    parts = (_lists(said.get(part), names) for part in ("metrics", "weighted_metrics"))
    return tuple(CompiledMetrics(*both) for both in zip(*parts, strict=True))


def _lists(said: object, names: Sequence[str]) -> list[tuple[Any, ...]]:
    """What is said of each output, as a flat tuple: one list is for all of them."""
    single = isinstance(said, Mapping) and "class_name" in said
    if isinstance(said, Mapping) and not single:
        return [_flat(said.get(name)) for name in names]
    if isinstance(said, list | tuple) and len(said) == len(names) > 1:
        return [_flat(one) for one in said]
    return [_flat(said)] * len(names)


def _flat(said: object) -> tuple[Any, ...]:
    if isinstance(said, list | tuple):
        return tuple(one for part in said for one in _flat(part))
    return () if said is None else (said,)


def remember_losses(
    model: keras.Model, source: Path, objects: Mapping[str, Any] | None = None
) -> None:
    """Keep what a model file says of its losses, for `compiled_losses`.

    Args:
        model: What was loaded from it.
        source: The file.
        objects: Losses of the user's own by name.
    """
    said = _said_by(source)
    if isinstance(said, Mapping):
        _SAID[model] = _Said(said, objects or {})


def compiled_losses(
    model: keras.Model, names: Sequence[str]
) -> tuple[CompiledLoss | None, ...] | None:
    """The loss of each output as the model, or the file that it comes from, is compiled.

    Args:
        model: A Keras model.
        names: Names of its outputs in order.

    Returns:
        For each output its loss, or None where it has none; None where nothing is known.
    """
    kept = _SAID.get(model, _Said({}, {}))
    live = _said_by_model(model)
    said = live or kept.compiled
    if said.get("loss") is None:
        return None
    losses = _by_output(said["loss"], names)
    if losses is None or not any(loss is not None for loss in losses):
        return None
    weights = _by_output(said.get("loss_weights"), names) or [None] * len(names)
    given = (_by_output(model.loss, names) if live else None) or losses
    return tuple(
        None if loss is None else _loss(loss, 1.0 if weight is None else float(weight), one, kept)
        for loss, weight, one in zip(losses, weights, given, strict=True)
    )


def _said_by(path: Path) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    try:
        if zipfile.is_zipfile(path):
            with open_archive(path) as archive:
                return json.loads(archive.read("config.json")).get("compile_config")
        if is_hdf5(path):
            with open_hdf5(path) as file:
                return json.loads(file.attrs.get("training_config", "null"))
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError):
        return None  # the model itself was read: what its training was is a help, no more
    return None


def _said_by_model(model: keras.Model) -> Mapping[str, Any] | None:
    if not getattr(model, "compiled", False):
        return None
    try:
        return model.get_compile_config()
    except Exception:  # what losses of the user's own raise
        return None


def _by_output(said: object, names: Sequence[str]) -> list[Any] | None:
    """What is said of each output; None where nothing is, or of other outputs."""
    if said is None:
        return None
    if isinstance(said, Mapping) and "class_name" not in said:
        return [said.get(name) for name in names] if said.keys() & set(names) else None
    if isinstance(said, list | tuple):
        return list(said) if len(said) == len(names) else None
    return [said] * len(names)


def _loss(said: object, weight: float, given: object, kept: _Said) -> CompiledLoss:
    """The loss of one output.

    Args:
        said: Keras's configuration of it.
        weight: What it counts.
        given: What `compile` was given, where that is known; else `said`.
        kept: Holds losses of the user's own.
    """
    name, from_logits = _named(said)
    made = loss_object(given, kept.objects)
    unsaved = unsaved_setting(said) if given is said else ""
    return CompiledLoss(name, from_logits, weight, made, unsaved)


def _named(said: object) -> tuple[str, bool | None]:
    """The plain name of a loss, and whether it was told that outputs are logits."""
    if isinstance(said, str):
        return plain_name(said), None
    if not isinstance(said, Mapping):
        return plain_name(getattr(said, "__name__", "")), None
    config = said.get("config")
    if isinstance(config, str):  # a function, by name
        return plain_name(config), None
    from_logits = config.get("from_logits") if isinstance(config, Mapping) else None
    return plain_name(str(said.get("class_name", ""))), from_logits if isinstance(
        from_logits, bool
    ) else None


def plain_name(name: str) -> str:
    """One name of a loss for all that Keras knows it by, abbreviations and classes alike.

    >>> plain_name("BCE"), plain_name("BinaryCrossentropy"), plain_name("KLDivergence")
    ('binary_crossentropy', 'binary_crossentropy', 'kl_divergence')
    """
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return _ALIASES.get(snake, snake)
