"""Initializers, regularizers, constraints, activations and dtypes of old configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edgepress.compress.models.legacy.wiring.naming import safe_name
from edgepress.compress.models.unknown_names import UnknownName

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import Tensor

# Keras 1 names → Keras 3 names.
_INITIALIZERS = {
    "normal": "random_normal",
    "uniform": "random_uniform",
    "zero": "zeros",
    "one": "ones",
    "NormalInitializer": "random_normal",
}
_CONSTRAINTS = {
    "maxnorm": "MaxNorm",
    "nonneg": "NonNeg",
    "unitnorm": "UnitNorm",
    "max_norm": "MaxNorm",
    "non_neg": "NonNeg",
    "unit_norm": "UnitNorm",
}
# Names under which a function was saved that Keras 3 calls otherwise.
_ACTIVATIONS = {
    "softmax_v2": "softmax",
    "relu_v2": "relu",
    "leaky_relu_v2": "leaky_relu",
    "swish": "silu",
    "log_softmax_v2": "log_softmax",
    "hardshrink": "hard_shrink",
    "softshrink": "soft_shrink",
    "tanhshrink": "tanh_shrink",
    "crelu_v2": "crelu",
    "exp": "exponential",
    "identity": "linear",
}
# Policies of TensorFlow 1.14 to 2.1.
_POLICIES = {
    "float16_with_float32_vars": "mixed_float16",
    "bfloat16_with_float32_vars": "mixed_bfloat16",
    "float32_with_float32_vars": "float32",
}


def own_name(value: str) -> str:
    """A registered name without its package ("Addons>mish" → "mish")."""
    return value.rpartition(">")[2]


def activation(
    value: Any, objects: Mapping[str, Any], remark: Callable[[str], None]
) -> Callable[..., Tensor] | None:
    """The Keras 3 activation that a saved one means.

    Args:
        value: A name, or a saved function or layer.
        objects: The user's own functions by name.
        remark: Takes a note.

    Raises:
        InputError: The function isn't known.
    """
    import keras

    from edgepress.compress.models.compat_layers import activations

    if value is None or callable(value):
        return value
    if isinstance(value, dict):
        return _activation_object(value, objects, remark)
    name = str(value)
    if name in objects:
        return objects[name]
    short = own_name(name)
    if short in objects:
        return objects[short]
    if name == "Addons>gelu":
        return activations.tfa_gelu
    short = _ACTIVATIONS.get(short, short)
    if short in activations.ACTIVATIONS:
        found = activations.ACTIVATIONS[short]
        remark(f"activation '{short}' keeps its old formula ({found.__name__})")
        return found
    try:
        return keras.activations.get(short)
    except ValueError:
        raise UnknownName(
            "function",
            short,
            f"the activation '{name}' is not known",
            f"define a function '{short}' in a file and pass it with --custom-objects file.py",
        ) from None


def lambda_activation(layer: str, key: str, objects: Mapping[str, Any]) -> Any:
    """The function of the user's own that takes the place of a lambda in a layer's settings.

    Raises:
        UnknownName: There is none.
    """
    name = safe_name(f"{layer}_{key}")
    if name in objects:
        return objects[name]
    raise UnknownName(
        "function",
        name,
        f"the {key.replace('_', ' ')} of layer '{layer}' is a lambda; code in old files is never"
        " run",
        f"define a function '{name}' in a file and pass it with --custom-objects file.py",
        is_code=True,
    )


def _activation_object(
    value: Mapping[str, Any], objects: Mapping[str, Any], remark: Callable[[str], None]
) -> Callable[..., Tensor] | None:
    """A function saved as an object, or a layer used as an activation."""
    import keras

    kind, config = value.get("class_name"), value.get("config")
    if kind in ("function", "str") or isinstance(config, str):
        return activation(config, objects, remark)
    name = own_name(str(value.get("registered_name") or kind))
    if name in objects:
        return objects[name](**(config or {}))
    known = getattr(keras.layers, name, None)
    if known is None:
        return activation(name, objects, remark)
    kept = {k: v for k, v in (config or {}).items() if k not in ("dtype", "name", "trainable")}
    if "alpha" in kept and name == "LeakyReLU":
        kept["negative_slope"] = kept.pop("alpha")
    return known(**kept)


def initializer(
    value: Any, objects: Mapping[str, Any], remark: Callable[[str], None]
) -> keras.Initializer | None:
    """The initializer, or Keras's default where it isn't known: the weights are in the file."""
    import keras

    if value is None or callable(value):
        return value
    name, config = _named(value)
    if name in objects:
        return objects[name](**config)
    name = _INITIALIZERS.get(name, name)
    config = {key: item for key, item in config.items() if key not in ("dtype", "partition_info")}
    if config.get("distribution") == "normal":
        config["distribution"] = "truncated_normal"
    try:
        return keras.initializers.get({"class_name": name, "config": config})
    except (ValueError, TypeError):
        remark(f"initializer '{name}' is unknown and left out: the weights come from the file")
        return "glorot_uniform"


def regularizer(
    value: Any, objects: Mapping[str, Any], remark: Callable[[str], None]
) -> keras.Regularizer | None:
    """The regularizer; an unknown one is left out, which changes only later training."""
    import keras

    if value is None or callable(value):
        return value
    name, config = _named(value)
    if name in objects:
        return objects[name](**config)
    if name in ("WeightRegularizer", "ActivityRegularizer", "L1L2Regularizer"):
        name = "L1L2"
    strengths = [item for item in config.values() if isinstance(item, int | float)]
    if name == "L1L2" and not any(strengths):
        return None
    try:
        return keras.regularizers.get({"class_name": name, "config": config})
    except (ValueError, TypeError):
        remark(f"regularizer '{name}' is unknown and left out: it matters in training only")
        return None


def constraint(
    value: Any, objects: Mapping[str, Any], remark: Callable[[str], None]
) -> keras.constraints.Constraint | None:
    """The constraint; an unknown one is left out, which changes only later training."""
    import keras

    if value is None or callable(value):
        return value
    name, config = _named(value)
    if name in objects:
        return objects[name](**config)
    name = _CONSTRAINTS.get(name, name)
    if "m" in config:
        config["max_value"] = config.pop("m")
    try:
        return keras.constraints.get({"class_name": name, "config": config})
    except (ValueError, TypeError):
        remark(f"constraint '{name}' is unknown and left out: it matters in training only")
        return None


def _named(value: Any) -> tuple[str, dict[str, Any]]:
    """Name and settings of a saved object: a name, `{class_name, config}`, or Keras 1's form."""
    if isinstance(value, str):
        return own_name(value), {}
    config = value.get("config")
    if "class_name" in value:
        name = value.get("registered_name") or value["class_name"]
        return own_name(str(name)), dict(config or {})
    rest = {key: item for key, item in value.items() if key != "name"}
    return own_name(str(value.get("name", ""))), rest


def dtype(value: Any) -> str | None:
    """The name of a saved dtype or dtype policy; None for Keras's default."""
    if isinstance(value, dict):
        config = value.get("config") or {}
        name = config.get("name") or config.get("source_name")
        return dtype(name)
    name = str(value or "").removesuffix("_ref")
    if name.lstrip("_").startswith("infer") or not name:
        return None
    return _POLICIES.get(name, name)
