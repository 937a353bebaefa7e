"""An export from start to end, each file verified before it is published."""
