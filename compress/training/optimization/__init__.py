"""Optimizers, their state, learning-rate schedules."""
