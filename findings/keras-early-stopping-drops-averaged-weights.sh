#!/usr/bin/env bash
# With an optimizer that averages weights (use_ema=True), restore_best_weights takes the average away again.
# Seen in Keras 3.15.1. fit() puts the averaged weights into the model when training ends, as the optimizer's
# documentation says; EarlyStopping then restores the best epoch, whose weights it took before any averaging.
# Why it matters: the average was asked for and paid for, the history shows nothing, and the file holds plain weights.
# Instead: add keras.callbacks.SwapEMAWeights(swap_on_epoch=True) before EarlyStopping, so that epochs are judged and
# kept with averaged weights, or leave restore_best_weights off.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import sys
import keras
import numpy as np

print("keras", keras.__version__)
x = np.random.default_rng(0).normal(size=(256, 8)).astype("float32")
y = x.sum(1, keepdims=True)

def train(average, *callbacks):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.05, use_ema=average, ema_momentum=0.9), "mse")
    model.fit(x, y, epochs=4, validation_data=(x, y), verbose=0, callbacks=list(callbacks))
    return model.get_weights()[0].ravel()

def stopping():
    return keras.callbacks.EarlyStopping(monitor="val_loss", patience=10, restore_best_weights=True)

plain, averaged, restored = train(False), train(True), train(True, stopping())
swapped = train(True, keras.callbacks.SwapEMAWeights(swap_on_epoch=True), stopping())
print("first weights, no averaging                       ", plain[:3].round(4).tolist())
print("first weights, use_ema                            ", averaged[:3].round(4).tolist())
print("first weights, use_ema and restore_best_weights   ", restored[:3].round(4).tolist())
print("first weights, the same behind SwapEMAWeights     ", swapped[:3].round(4).tolist())
print("expected: averaged weights of the best epoch, here the last: the second row")
print("seen: the third row is the first one; the average is gone")
lost = np.allclose(restored, plain) and not np.allclose(restored, averaged)
sys.exit(0 if lost and np.allclose(swapped, averaged, atol=1e-5) else 3)
PYTHON
