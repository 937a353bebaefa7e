"""From a model's graph to groups of channels that are removed together."""
