"""Learning from a teacher model: its outputs and its features."""
