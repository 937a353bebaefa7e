"""The resumable training loop: steps, updates, checkpoints, records."""
