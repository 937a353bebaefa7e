"""Native code that may crash, in a child process."""
