"""Models whose values stay in their file until somebody looks at them."""
