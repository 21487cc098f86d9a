"""The tiers: raw perception, scene, event, torchvision's models, and those that users provide; none knows of Ray.

Names are imported at their first use, so that a command line reads user-provided tiers without importing torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m3ray.tiers.base import (
        Tier,
        WeightedValue,
        Window,
        WindowFeatures,
        average_windows,
        check_finite,
        tier_fingerprint,
    )
    from m3ray.tiers.event import EventTier
    from m3ray.tiers.hog_pca import HogProjection, fit_hog_projection
    from m3ray.tiers.network import Network, WeightSource
    from m3ray.tiers.raw_tier import RawTier
    from m3ray.tiers.scene import SceneTier
    from m3ray.tiers.torchvision_tier import VisionTier

_MODULES = {
    "base": (
        "Tier",
        "WeightedValue",
        "Window",
        "WindowFeatures",
        "average_windows",
        "check_finite",
        "tier_fingerprint",
    ),
    "event": ("EventTier",),
    "hog_pca": ("HogProjection", "fit_hog_projection"),
    "network": ("Network", "WeightSource"),
    "raw_tier": ("RawTier",),
    "scene": ("SceneTier",),
    "torchvision_tier": ("VisionTier",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "EventTier",
    "HogProjection",
    "Network",
    "RawTier",
    "SceneTier",
    "Tier",
    "VisionTier",
    "WeightSource",
    "WeightedValue",
    "Window",
    "WindowFeatures",
    "average_windows",
    "check_finite",
    "fit_hog_projection",
    "tier_fingerprint",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
