"""What a model costs with units removed: exact, estimated, measured."""
