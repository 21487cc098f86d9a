"""Pipelines: the only code that imports Ray."""
