"""Studies of loading data."""
