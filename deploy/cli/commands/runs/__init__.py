"""Commands for whole runs."""
