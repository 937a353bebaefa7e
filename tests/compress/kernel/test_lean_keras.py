"""Keras loads without what only its plots, wrappers and data frames need."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from edgepress.compress.kernel import lean_keras

lean_keras.load()
heavy = {"matplotlib", "pandas", "sklearn"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()

import keras, matplotlib, numpy, pandas, sklearn

model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(numpy.ones((4, 2)), numpy.ones((4, 1)), verbose=0)
print(pandas.DataFrame({"a": [1]}).a[0], sklearn.__name__, matplotlib.__name__)
"""


def test_they_are_not_loaded_and_can_be_used_afterwards() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "sklearn", "matplotlib"]


def test_what_is_loaded_already_stays() -> None:
    import keras
    import pandas

    from edgepress.compress.kernel import lean_keras

    lean_keras.load()
    assert sys.modules["keras"] is keras
    assert sys.modules["pandas"] is pandas
