"""The graph of a saved model: names, masks, which layers are reachable."""
