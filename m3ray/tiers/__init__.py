"""The tiers: raw perception, scene, event. Each is a stage that knows nothing of Ray."""

from m3ray.tiers.base import Measured, Tier, Weighted, Window, check_finite, clip_values, fingerprint_of
from m3ray.tiers.event import EventTier
from m3ray.tiers.hog_pca import HogProjection, fit_hog_projection
from m3ray.tiers.network import Network, WeightSource
from m3ray.tiers.perception import RawTier
from m3ray.tiers.scene import SceneTier
from m3ray.tiers.vision import VisionTier

__all__ = [
    "EventTier",
    "HogProjection",
    "Measured",
    "Network",
    "RawTier",
    "SceneTier",
    "Tier",
    "VisionTier",
    "WeightSource",
    "Weighted",
    "Window",
    "check_finite",
    "clip_values",
    "fingerprint_of",
    "fit_hog_projection",
]
