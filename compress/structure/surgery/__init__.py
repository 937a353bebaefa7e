"""Removing units from a model and its optimizer."""
