#!/usr/bin/env bash
# A functional model forgets training=False (or True) with which a layer was called: fit() and predict() overrule it.
# Seen in Keras 3.15.1; tf_keras 2.21.0 (Keras 2) keeps it, and the guide to transfer learning relies on it: call
# the backbone with training=False so that its batch normalisation stays in inference mode once it is unfrozen.
# Why it matters: fine-tuning on small batches rewrites the backbone's statistics without a word, and dropout that was
# called with training=True (Monte Carlo dropout) gives equal answers from predict() and from exported files.
# Instead: set trainable = False on the BatchNormalization layers themselves; give dropout that must stay on a layer
# of its own whose call() says training=True.
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
samples = np.random.default_rng(0).normal(5, 1, (64, 3)).astype("float32")

def statistics_moved(library, frozen=False):
    inside = library.Input((3,))
    normalisation = library.layers.BatchNormalization(momentum=0.5)
    backbone = library.Model(inside, normalisation(inside))
    image = library.Input((3,))
    model = library.Model(image, library.layers.Dense(1)(backbone(image, training=False)))
    normalisation.trainable = not frozen
    model.compile("sgd", "mse")
    model.fit(samples, samples[:, :1], batch_size=16, verbose=0)
    return float(np.abs(np.array(normalisation.moving_mean)).max())

def answers_differ(library):
    image = library.Input((50,))
    model = library.Model(image, library.layers.Dropout(0.5)(image, training=True))
    ones = np.ones((1, 50), "float32")
    return not np.array_equal(model.predict(ones, verbose=0), model.predict(ones, verbose=0))

print("expected: statistics stay at 0 with training=False; two answers of a dropout with training=True differ")
found = {}
for library in (tf_keras, keras):
    name = library.__name__
    found[name] = statistics_moved(library) == 0, answers_differ(library)
    print(f"{name}: statistics stayed: {found[name][0]}, dropout's answers differ: {found[name][1]}")
stayed = statistics_moved(keras, frozen=True) == 0
print("keras with trainable = False on the normalisation: statistics stayed:", stayed)
sys.exit(0 if found == {"tf_keras": (True, True), "keras": (False, False)} and stayed else 3)
PYTHON
