"""Files of older Keras versions, read as data."""
