"""Commands for exported files and devices."""
