"""Whole commands, measured from outside."""
