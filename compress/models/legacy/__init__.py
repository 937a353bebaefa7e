"""Models that Keras 3 refuses, carried into Keras 3: Keras 1 and 2, tf.keras, SavedModel.

The saved configuration is read as data and translated layer by layer; the weights are moved into
the layers that result. Nothing in the file is executed: no pickled code, no traced function, no
class imported by the name that a file gives.
"""

from edgepress.compress.models.legacy.convert import Carried, carry, is_older

__all__ = ["Carried", "carry", "is_older"]
