"""Regressors beside the MLP, as bundles keep them: arrays and JSON, and a few lines of prediction each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from m3ray.errors import BundleError
from m3ray.model.regressors.base import Regressor
from m3ray.model.regressors.constant import Constant
from m3ray.model.regressors.kernel import KernelModel
from m3ray.model.regressors.linear import Linear
from m3ray.model.regressors.trees import Trees

# Kind of a regressor's settings to what rebuilds it.
_LOADERS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Regressor]] = {
    "constant": Constant.load,
    "linear": Linear.load,
    "kernel": KernelModel.load,
    "trees": Trees.load,
}


def load_regressor(settings: Mapping[str, Any], tensors: Mapping[str, Any]) -> Regressor:
    """Rebuild a regressor from what was written of it.

    Args:
        settings: What its `settings` gave.
        tensors: What its `tensors` gave, as arrays or as PyTorch's tensors.
    Returns:
        The regressor.
    Raises:
        BundleError: If the kind is unknown, or a number or an array is missing.
    """
    kind = settings.get("kind")
    if kind not in _LOADERS:
        known = ", ".join(_LOADERS)
        raise BundleError(f"unknown regressor {kind}, expected one of {known}: load it with the version that wrote it")
    try:
        return _LOADERS[kind](settings, tensors)
    except KeyError as error:
        raise BundleError(f"the {kind} regressor lacks {error}: write the bundle again") from error


__all__ = ["Constant", "KernelModel", "Linear", "Regressor", "Trees", "load_regressor"]
