"""Models that aren't Keras models: TFLite and ONNX files, SavedModel folders.

They can't be trained or pruned. What needs a graph and outputs only, works: looking at them,
converting them as far as there is a road, comparing and measuring.
"""

from edgepress.deploy.foreign.opening import open_foreign

__all__ = ["open_foreign"]
