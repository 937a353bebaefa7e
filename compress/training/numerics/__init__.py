"""How a training computes: number type, determinism, normalisation."""
