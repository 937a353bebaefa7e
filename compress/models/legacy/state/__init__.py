"""Saved weights and optimizer state, moved into Keras 3."""
