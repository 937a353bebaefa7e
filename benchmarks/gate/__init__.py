"""A benchmark held against an earlier one: which files are the same, what changed, and why."""
