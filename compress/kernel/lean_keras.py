"""Loading Keras without what it loads for plots, data frames and scikit-learn alone."""

from __future__ import annotations

import sys

# Keras does without each where it isn't installed; together they take a third of the processor time
# that loading it takes. https://github.com/keras-team/keras/blob/v3.15.1/keras/src/wrappers/fixes.py
_OPTIONAL = ("matplotlib", "pandas", "sklearn")


def load() -> None:
    """Import Keras and TensorFlow, in a process that is ours alone.

    In it `keras.visualization` draws nothing, `fit` takes no data frames and `keras.wrappers` wraps
    nothing for scikit-learn. All three packages can be imported as ever afterwards.
    """
    hidden = [name for name in _OPTIONAL if name not in sys.modules]
    # An import of a name that stands for None says that there is no such module.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        import keras
        import tensorflow  # noqa: F401

        del keras
    finally:
        for name in hidden:
            del sys.modules[name]
