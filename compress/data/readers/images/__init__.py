"""Images in folders: which there are, what they hold, and how they are read."""
