"""Training: stacked runs, feature matrices, bundles."""
