"""The command `edgepress`: names and one-line helps here, everything else on demand."""

from edgepress.deploy.cli.main import main

__all__ = ["main"]
