"""Bundles: how they are made, what they score, in one process without a cluster."""
