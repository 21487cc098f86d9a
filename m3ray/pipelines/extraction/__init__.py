"""Clips to tiers: plan, dataflow, its stages, and what is done about failures."""
