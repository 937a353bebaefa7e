"""Time by operator and by layer."""
