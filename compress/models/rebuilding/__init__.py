"""Models rebuilt: copied, flattened, with layers replaced, without nested models."""
