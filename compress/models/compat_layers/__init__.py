"""Layers and activations of the Keras world that Keras 3 lacks or computes differently."""
