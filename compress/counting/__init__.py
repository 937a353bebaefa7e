"""Counting multiply-accumulates: by formula where a layer has one, else in its traced graph."""
