"""What people write and read back: specifications, their notation, results of pruning."""
