#!/usr/bin/env bash
# An .h5 file with a hard sigmoid loads from Keras 2 into Keras 3 without a word and computes another function.
# Seen in Keras 3.15.1 with a file of tf_keras 2.21.0: clip(0.2 x + 0.5, 0, 1) became clip(x / 6 + 0.5, 0, 1).
# Why it matters: gates of old recurrent layers (hard_sigmoid was their default in Keras 1 and early 2) and of
# squeeze-and-excitation differ by up to 0.083 each; the file, its weights and its configuration look right.
# Instead: compare predictions in both libraries after loading; give custom_objects={"hard_sigmoid": your own function}.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tensorflow==2.21.0 keras==3.15.1 tf_keras==2.21.0 numpy==2.4.6
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - 2>log <<'PYTHON' || { code=$?; tail -n 3 log >&2; exit "$code"; }
import sys
import keras
import numpy as np
import tf_keras

print("keras", keras.__version__, "tf_keras", tf_keras.__version__)
x = np.linspace(-3, 3, 7, dtype="float32")[:, None]

def through_file(name):
    old = tf_keras.Sequential([tf_keras.layers.Dense(1, activation=name, kernel_initializer="ones", input_shape=(1,))])
    old.save("old.h5")
    return old.predict(x, verbose=0).ravel(), keras.models.load_model("old.h5", compile=False).predict(x, verbose=0).ravel()

print("expected: a file that loads computes what it computed; the other activations do")
same = {n: bool(np.allclose(*through_file(n), atol=1e-6)) for n in ("sigmoid", "gelu", "softplus", "hard_sigmoid")}
print("seen:", same)
old, new = through_file("hard_sigmoid")
print("x           ", x.ravel().tolist())
print("tf_keras    ", old.round(3).tolist())
print("keras       ", new.round(3).tolist())

def first(v):
    return keras.ops.clip(0.2 * v + 0.5, 0.0, 1.0)

mended = keras.models.load_model("old.h5", compile=False, custom_objects={"hard_sigmoid": first})
helped = bool(np.allclose(mended.predict(x, verbose=0).ravel(), old, atol=1e-6))
print("with custom_objects: as before:", helped)
wrong = same == {"sigmoid": True, "gelu": True, "softplus": True, "hard_sigmoid": False}
sys.exit(0 if wrong and helped else 3)
PYTHON
