"""Channel numbers, and the place where a rule is applied."""
