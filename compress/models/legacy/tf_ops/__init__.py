"""TensorFlow operations in terms of `keras.ops`."""
