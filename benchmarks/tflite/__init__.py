"""TFLite files, read and edited as data: graph, work, memory, metadata, scales."""
