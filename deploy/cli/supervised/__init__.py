"""Commands that train, in a child process that is watched over, and what they keep."""
