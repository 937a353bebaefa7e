"""From saved configurations to Keras 3 layers and models."""
