"""What every room stands on: whole files, tables with entry points, progress, artifacts."""
