"""Time series in tables: recordings, cut into windows."""
