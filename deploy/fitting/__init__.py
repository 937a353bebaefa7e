"""The smallest or fastest files that keep a floor of the metric, found by experiment."""
