"""Mixed precision for the time of a training: layers compute in bfloat16, weights stay float32.

bfloat16 has float32's range, so that losses need no scaling.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

# What Linux calls the instructions that multiply bfloat16 numbers.
_INSTRUCTIONS = ("amx_bf16", "avx512_bf16")
_FIRST_GPU = 8


def resolve_compute(setting: str) -> str:
    """The type to compute in: "auto" is decided by the machine, and so the same in every run."""
    if setting != "auto":
        return setting
    return "bfloat16" if _gains() else "float32"


def _gains() -> bool:
    """Whether the machine multiplies bfloat16 faster than float32."""
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    if devices:
        details = [tf.config.experimental.get_device_details(d) for d in devices]
        return all(d.get("compute_capability", (0, 0))[0] >= _FIRST_GPU for d in details)
    return any(name in _processor_flags() for name in _INSTRUCTIONS)


def _processor_flags() -> set[str]:
    listing = Path("/proc/cpuinfo")
    if not listing.exists():
        return set()
    lines = listing.read_text("utf-8").splitlines()
    first = next((line for line in lines if line.startswith("flags")), "")
    return set(first.split())


@contextmanager
def computing_in(model: keras.Model, kind: str) -> Iterator[int]:
    """Let a model's layers compute in a type inside the block.

    Functions traced inside the block keep the type. The layers that give the model's outputs stay
    in float32, for a loss of rounded probabilities is no guide.

    Args:
        model: A Keras model that the caller owns.
        kind: "float32" leaves everything as it is; "bfloat16".

    Yields:
        Number of layers that were swapped.
    """
    layers = [] if kind == "float32" else _swappable(model)
    before = [layer.dtype_policy for layer in layers]
    for layer in layers:
        layer.dtype_policy = f"mixed_{kind}"
    try:
        yield len(layers)
    finally:
        for layer, policy in zip(layers, before, strict=True):
            layer.dtype_policy = policy


def _swappable(model: keras.Model) -> list[keras.Layer]:
    import keras

    last = {id(t._keras_history.operation) for t in model.outputs}
    return [
        layer
        for layer in model._flatten_layers(include_self=False)
        if layer.dtype_policy.name == "float32"
        and id(layer) not in last
        and not isinstance(layer, keras.Model | keras.layers.InputLayer)
    ]
