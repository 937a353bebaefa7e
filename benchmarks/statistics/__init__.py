"""When to run what, and how sure a figure is."""
