"""Which layers are trained."""
