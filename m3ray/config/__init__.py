"""Every setting as a frozen dataclass: command lines are made from them, and results keep them."""

from m3ray.config.compute import ComputeConfig, DecoderName, DeviceConfig, LimitsConfig, Precision, SlidingWindowConfig
from m3ray.config.datasets import ReadConfig, StorageConfig
from m3ray.config.serialization import as_json, fingerprint, from_json
from m3ray.config.tiers import (
    CaptionsConfig,
    DecodeConfig,
    EventConfig,
    FinetunedConfig,
    ImageNetworkConfig,
    RawConfig,
    SceneConfig,
    SimilarityConfig,
    TierConfigs,
    VisionConfig,
)
from m3ray.config.training import TrainConfig

__all__ = [
    "CaptionsConfig",
    "ComputeConfig",
    "DecodeConfig",
    "DecoderName",
    "DeviceConfig",
    "EventConfig",
    "FinetunedConfig",
    "ImageNetworkConfig",
    "LimitsConfig",
    "Precision",
    "RawConfig",
    "ReadConfig",
    "SceneConfig",
    "SimilarityConfig",
    "SlidingWindowConfig",
    "StorageConfig",
    "TierConfigs",
    "TrainConfig",
    "VisionConfig",
    "as_json",
    "fingerprint",
    "from_json",
]
