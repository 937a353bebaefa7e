"""Outputs of frozen layers, computed once."""
