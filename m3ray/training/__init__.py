"""Training: stacked runs, their optimiser, the choice of settings."""
