"""File formats: one exporter each, listed in one table."""

from edgepress.deploy.exporters.exporter import Exporter, Job
from edgepress.deploy.exporters.table import EXPORTERS

__all__ = ["EXPORTERS", "Exporter", "Job"]
