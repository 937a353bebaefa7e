"""TFLite, ONNX and SavedModel as sources."""
