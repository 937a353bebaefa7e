"""Benchmarks on named devices, and what pruning measures on them."""
