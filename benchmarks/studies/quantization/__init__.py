"""Studies of quantisation."""
