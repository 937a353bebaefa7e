"""Keras loss objects: made again from what files say of them, and what sets them apart."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import Tensor

# What every loss has, and what is decided by the output rather than by the loss.
_COMMON = ("name", "reduction", "from_logits", "dtype", "fn")
# Reductions that give one number for a batch of samples which all count the same: its mean.
_MEANS = ("sum_over_batch_size", "mean")
# Settings that Keras doesn't write into a loss's configuration (3.15).
_UNSAVED = {"Huber": "delta", "CosineSimilarity": "axis"}


def loss_object(
    said: object, custom_objects: Mapping[str, Any] | None = None
) -> keras.losses.Loss | None:
    """A Keras loss object of what `compile` was given, or of what a file says of that.

    Args:
        said: A loss object, a function of (targets, outputs), a name, or Keras's configuration of
            one of these, of Keras 2's files too.
        custom_objects: Losses of the user's own by name.

    Returns:
        A `keras.losses.Loss`; None where it can't be rebuilt.
    """
    import keras
    from keras.src.losses.losses import LossFunctionWrapper

    if isinstance(said, keras.losses.Loss):
        return said
    try:
        with keras.saving.custom_object_scope(dict(custom_objects or {})):
            if isinstance(said, Mapping):
                found = _of_keras(said) or keras.losses.deserialize(dict(said))
            else:
                found = keras.losses.get(said)
    except Exception:  # whatever a loss of the user's own raises, or a name that isn't known here
        return None
    if isinstance(found, keras.losses.Loss):
        return found
    if not callable(found):  # Keras gives back the name of what it doesn't know
        return None
    own = _class_of(found)
    if own is not None:
        return own()
    return LossFunctionWrapper(found, name=getattr(found, "__name__", "loss"))


def _of_keras(said: Mapping[str, Any]) -> keras.losses.Loss | None:
    """A loss of Keras's by class and settings; older Kerases had others beside those."""
    import keras

    kind, config = said.get("class_name"), said.get("config")
    found = vars(keras.losses).get(str(kind))
    if said.get("registered_name") or not isinstance(found, type) or not isinstance(config, dict):
        return None
    taken = inspect.signature(found).parameters
    kept = {k: v for k, v in config.items() if k in taken and (k, v) != ("reduction", "auto")}
    return found(**kept)


def _class_of(function: Callable[..., Tensor]) -> type[keras.losses.Loss] | None:
    """The class of Keras's that wraps one of its functions."""
    import keras

    name = getattr(function, "__name__", "").replace("_", "")
    classes = {n.lower(): c for n, c in vars(keras.losses).items() if isinstance(c, type)}
    module = str(getattr(function, "__module__", ""))
    return classes.get(name) if module.startswith("keras.") else None


def is_keras_loss(loss: keras.losses.Loss) -> bool:
    """Whether a loss object is of a class of Keras's own."""
    import keras

    return vars(keras.losses).get(type(loss).__name__) is type(loss)


def settings_of(loss: keras.losses.Loss) -> dict[str, Any]:
    """What a loss object of Keras's has set otherwise than Keras does by itself.

    Whether it takes logits is left out: that is decided by what the output gives.
    """
    given, plain = _values(loss), _values(type(loss)())
    found = {k: v for k, v in given.items() if k not in _COMMON and v != plain.get(k)}
    reduction = _reduction(given)
    return found if reduction in _MEANS else {**found, "reduction": reduction}


def is_summed(loss: keras.losses.Loss) -> bool:
    """Whether a loss grows with the number of samples; one that isn't reduced is summed up."""
    return _reduction({"reduction": getattr(loss, "reduction", _MEANS[0])}) == "sum"


def _reduction(values: Mapping[str, Any]) -> str:
    """How samples' losses become one. Keras's training sums up those that are not reduced."""
    said = values.get("reduction", _MEANS[0])
    return "sum" if said in (None, "none") else str(said)


def _values(loss: keras.losses.Loss) -> dict[str, Any]:
    kept = getattr(loss, "_fn_kwargs", {})
    return {**loss.get_config(), **{k: v for k, v in kept.items() if not callable(v)}}


def unsaved_setting(said: object) -> str:
    """The setting that Keras left out of a loss's configuration; empty where it holds all."""
    if not isinstance(said, Mapping) or not isinstance(said.get("config"), Mapping):
        return ""
    name = _UNSAVED.get(str(said.get("class_name")), "")
    return "" if name in said["config"] else name


def with_logits(loss: keras.losses.Loss, logits: bool) -> keras.losses.Loss:
    """A loss object like another one, told whether outputs are logits.

    One that isn't reduced is summed up over samples, as Keras's training does.

    Args:
        loss: Of a class of Keras's own.
        logits: Whether outputs come before their softmax or sigmoid.
    """
    taken = inspect.signature(type(loss)).parameters
    values = {k: v for k, v in _values(loss).items() if k in taken}
    if "from_logits" in taken:
        values["from_logits"] = logits
    values["reduction"] = _reduction(values)
    return type(loss)(**values)
