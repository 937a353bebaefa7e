"""Sounds in files: how they are decoded, what a folder of them holds, and how they are read."""
