"""Refitting what is left to what the whole model computed."""
