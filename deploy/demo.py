"""The embedded default: handwritten digits that come with scikit-learn, and a small network.

8x8 grey images of 10 digits, 1,797 samples (Alpaydin and Kaynak, UCI "Optical Recognition of
Handwritten Digits", test part).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgepress.deploy.recipe import BenchmarkSpec, ExportSpec, Recipe

if TYPE_CHECKING:
    import keras

_SEED = 0


def digits() -> dict[str, Any]:
    """The digits as arrays: 60 % to train, 20 % to validate, 20 % to test, stratified."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype(np.float32)
    x_train, x_rest, y_train, y_rest = train_test_split(
        images, labels, test_size=0.4, random_state=_SEED, stratify=labels
    )
    x_val, x_test, y_val, y_test = train_test_split(
        x_rest, y_rest, test_size=0.5, random_state=_SEED, stratify=y_rest
    )
    return {
        "x_train": x_train, "y_train": y_train, "x_val": x_val, "y_val": y_val,
        "x_test": x_test, "y_test": y_test,
    }  # fmt: skip


def network() -> keras.Model:
    """A small residual network, trained on the digits for some epochs."""
    import keras

    keras.utils.set_random_seed(_SEED)
    model = _untrained()
    data = digits()
    model.compile(keras.optimizers.Adam(2e-3), keras.losses.SparseCategoricalCrossentropy())
    model.fit(data["x_train"] / 16, data["y_train"], batch_size=32, epochs=12, verbose=0)
    return model


def _untrained() -> keras.Model:
    import keras
    from keras import layers

    inputs = keras.Input((8, 8, 1), name="image")
    x = _conv_block(inputs, 24, "stem")
    x = layers.Add(name="join")([x, _conv_block(x, 24, "body")])
    x = layers.MaxPooling2D(name="halve")(x)
    x = _conv_block(x, 48, "wide")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = layers.Dense(10, activation="softmax", name="digit")(x)
    return keras.Model(inputs, outputs, name="digits")


def _conv_block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    from keras import layers

    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def demo_recipe(seed: int = 0) -> Recipe:
    """The full pipeline on the digits."""
    return Recipe.model_validate(
        {
            "model": "edgepress.deploy.demo:network",
            "data": {"spec": "edgepress.deploy.demo:digits", "scale": "1/16"},
            "finetune": {"unfreeze": ["top:3"], "epochs": 5, "lr": 1e-3, "schedule": "cosine"},
            "prune": [
                {"structure": "channels", "target_macs": 0.5, "recover_epochs": 15},
                {"structure": "weights", "sparsity": 0.5, "recover_epochs": 10},
            ],
            "export": ExportSpec(quantize=("float32", "float16", "dynamic", "int8")),
            "benchmark": BenchmarkSpec(runs=200),
            "seed": seed,
        }
    )
