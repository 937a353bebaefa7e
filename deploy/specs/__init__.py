"""What people ask of an export and of a benchmark: each option declared and checked once."""
