"""What a model is asked to do, inferred from its outputs and the targets."""
