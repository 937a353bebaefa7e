#!/usr/bin/env bash
# clone_model of a functional model whose class has a call() and a constructor of its own gives a model without them.
# Seen in Keras 3.15.1: no error, although its documentation says that subclassed models can't be cloned. A class
# with call() alone is cloned whole, so one more constructor argument decides.
# Why it matters: a scale, a temperature or a conversion of outputs that lives in call() is missing from the copy that
# is pruned, quantised or exported; weights, layers and shapes are equal, so every check but the outputs passes.
# Instead: put such work into layers, or copy by type(model).from_config(model.get_config()).
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

class Scaled(keras.Model):
    def call(self, inputs, training=None, mask=None):
        return 1000.0 * super().call(inputs, training=training, mask=mask)

class ScaledBy(keras.Model):
    def __init__(self, inputs, outputs, factor, **options):
        super().__init__(inputs, outputs, **options)
        self.factor = factor

    def call(self, inputs, training=None, mask=None):
        return self.factor * super().call(inputs, training=training, mask=mask)

def ratio(make):
    """The copy's answer by the model's."""
    image = keras.Input((3,))
    model = make(image, keras.layers.Dense(1, kernel_initializer="ones")(image))
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    print(f"  {type(model).__name__} is cloned as {type(copy).__name__}")
    x = np.ones((1, 3), "float32")
    return copy.predict(x, verbose=0).item() / model.predict(x, verbose=0).item()

print("expected: the copy answers as the model does, or cloning is refused")
plain, own = ratio(Scaled), ratio(lambda i, o: ScaledBy(i, o, factor=1000.0))
print(f"seen: the copy's answer by the model's: {plain:g} with call() alone, {own:g} with a constructor beside it")
sys.exit(0 if np.isclose(plain, 1) and np.isclose(own, 0.001) else 3)
PYTHON
