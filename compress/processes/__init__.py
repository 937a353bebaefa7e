"""Child processes, the signals that end them, and the temporary files that go with a process."""
