"""Boards behind SSH."""
