"""The model: an MLP over tiers, its losses and metrics, in plain PyTorch and NumPy."""

from m3ray.model.mlp import MLP, StackedMLP, parameter_count

__all__ = ["MLP", "StackedMLP", "parameter_count"]
