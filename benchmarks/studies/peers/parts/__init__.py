"""The parts of the comparison: each turns a plan into contests."""
