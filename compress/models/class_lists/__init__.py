"""Names of a model's classes in the order of its outputs, as people and tools list them."""
