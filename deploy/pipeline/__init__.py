"""The full pipeline: stages, run folder, checks, gains."""
