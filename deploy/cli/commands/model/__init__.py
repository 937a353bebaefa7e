"""Commands that look at or change a model."""
