"""Precisions: what each stores, what it needs, and how far from its source it may come out."""

from edgepress.deploy.quantize.precision import PRECISIONS, Precision

__all__ = ["PRECISIONS", "Precision"]
