"""Every setting, as frozen dataclasses. Command lines are made from them and results carry them resolved."""

from m3ray.config.compute import ComputeConfig, DecoderName, LimitsConfig, MomentConfig, Precision
from m3ray.config.datasets import ReadConfig, StorageConfig
from m3ray.config.serialization import as_json, fingerprint, from_json
from m3ray.config.tiers import (
    DecodeConfig,
    EventConfig,
    RawConfig,
    SceneConfig,
    SimilarityConfig,
    TierConfigs,
    TunedConfig,
    VisionConfig,
)
from m3ray.config.training import TrainConfig

__all__ = [
    "ComputeConfig",
    "DecodeConfig",
    "DecoderName",
    "EventConfig",
    "LimitsConfig",
    "MomentConfig",
    "Precision",
    "RawConfig",
    "ReadConfig",
    "SceneConfig",
    "SimilarityConfig",
    "StorageConfig",
    "TierConfigs",
    "TrainConfig",
    "TunedConfig",
    "VisionConfig",
    "as_json",
    "fingerprint",
    "from_json",
]
