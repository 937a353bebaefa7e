"""Losses of Keras by name, and how any loss is taken place by place."""
