"""C++ sources for TensorFlow Lite Micro."""
