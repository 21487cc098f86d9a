"""Similarity measures fitted and applied over the cluster."""
