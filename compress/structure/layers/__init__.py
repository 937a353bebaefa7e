"""Removing whole blocks of layers."""
