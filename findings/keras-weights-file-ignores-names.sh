#!/usr/bin/env bash
# A .weights.h5 file knows layers by class and position, not by name: named layers can swap their weights silently.
# Seen in Keras 3.15.1: the same network, outputs listed in another order, loads each head's weights into the other
# head. Layers, variable paths and model.summary() show the names; inside the file they are dense and dense_1.
# Why it matters: a checkpoint written before a harmless rewrite of the code loads without error or warning, and
# two heads of the same shape answer for each other. by_name=True is refused for such files.
# Instead: ship whole .keras files, or compare predictions on stored samples after load_weights.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tensorflow==2.21.0 keras==3.15.1 h5py==3.14.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import sys
import h5py
import keras
import numpy as np

print("keras", keras.__version__, "h5py", h5py.__version__)

def network(order):
    image = keras.Input((4,))
    heads = {name: keras.layers.Dense(2, name=name)(image) for name in ("left", "right")}
    return keras.Model(image, [heads[name] for name in order])

saved, loaded = network(["left", "right"]), network(["right", "left"])
saved.save_weights("net.weights.h5")
loaded.load_weights("net.weights.h5")
with h5py.File("net.weights.h5") as file:
    print("groups in the file:", sorted(file["layers"]))

def same(ours, theirs):
    return np.array_equal(saved.get_layer(ours).kernel, loaded.get_layer(theirs).kernel)

print("expected: the layer called left gets the weights of the layer called left:", True)
print("seen: left has those of left:", same("left", "left"), "- left has those of right:", same("right", "left"))
sys.exit(0 if same("right", "left") and not same("left", "left") else 3)
PYTHON
