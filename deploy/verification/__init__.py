"""Whether a file computes what its source computes: source outputs, differences, the verdict."""
