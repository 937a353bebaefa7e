"""Memory plans of TFLite files: in which order operators run, and where activations lie."""
