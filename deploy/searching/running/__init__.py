"""The trials of a search as they run: on one machine, or on several that share a database."""
