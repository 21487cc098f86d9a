"""Named settings, each a short function, and the addresses of published weights."""

from __future__ import annotations

from dataclasses import replace

from m3ray.config.finetuning import UnfrozenConfig
from m3ray.config.tiers import DecodeConfig, SimilarityConfig, TierConfigs
from m3ray.config.training import TrainConfig

_VMZ = "https://github.com/bjuncek/VMZ/releases/download/test_models"

# Tier (and network) to address. Their publishers give no SHA-256, so the hash that was found is recorded, not checked;
# a --weights FILE.json with a hash checks it.
PUBLISHED = {
    "scene": "http://sceneparsing.csail.mit.edu/model/pytorch/ade20k-hrnetv2-c1/encoder_epoch_30.pth",
    "event:ip": f"{_VMZ}/ipCSN_152_ft_kinetics_from_ig65m_f133090949.pth",
    "event:ir": f"{_VMZ}/irCSN_152_ft_kinetics_from_ig65m_f126851907.pth",
}


def paper_tiers() -> TierConfigs:
    """The supplement's features: whole clips at 15 frames a second; eps of the paper, for data of its size."""
    return TierConfigs(similarity=SimilarityConfig(eps_scene=1.25, eps_event=0.9))


def default_tiers() -> TierConfigs:
    """As the paper's, with DBSCAN's eps read off the data: the paper's values suit 7,000 clips alone."""
    return TierConfigs()


def demo_tiers() -> TierConfigs:
    """As the default's, at 5 frames a second, so that the demo takes minutes without a GPU, and for its few clips."""
    return replace(default_tiers(), decode=DecodeConfig(fps=5.0), similarity=SimilarityConfig(kde_fewest=8))


def ablation_training() -> TrainConfig:
    """What every ablation of the paper trains with: plain MSE, 20 epochs."""
    return TrainConfig()


def memento10k_training() -> TrainConfig:
    """Table 5, Memento10k: MSE with weighted tails."""
    return replace(ablation_training(), loss="mse_tails")


def videomem_training() -> TrainConfig:
    """Table 5, VideoMem: MSE at the first epoch, Spearman at the last."""
    return replace(ablation_training(), loss="mse_to_spearman")


def alone_training() -> TrainConfig:
    """A tier judged alone: one hidden layer of 64."""
    return replace(ablation_training(), hidden=(64,))


def measure_training() -> TrainConfig:
    """Table 4: a similarity measure judged alone, 15 epochs."""
    return replace(alone_training(), epochs=15)


def small_unfrozen() -> UnfrozenConfig:
    """For a demo on CPUs: 8 frames of 64x64, two epochs. It shows that everything works, not what training can do."""
    shown = UnfrozenConfig(epochs=2, batch=8, micro_batch=8, size=64, frames=8, precision="float32")
    return replace(shown, checkpointing=False, cache_gb=2.0, keep=1)


def one_large_unfrozen() -> UnfrozenConfig:
    """One GPU of 80 GB: 16 clips of 45 frames at once, two rounds a step.

    Weights, gradients and Adam's moments of 97 M parameters: 16 bytes each, 1.6 GB. A clip of 45 frames of 256x256
    keeps its blocks' inputs, about 0.7 GB in bfloat16, and one block at a time is recomputed: 16 clips, about 20 GB.
    """
    return UnfrozenConfig(micro_batch=16)


def eight_small_unfrozen() -> UnfrozenConfig:
    """Eight GPUs of 24 GB: 4 clips each, one round a step: about 7 GB of a worker's 24."""
    return replace(one_large_unfrozen(), micro_batch=4, workers=8)


# Videos between the first and the second viewing that Memento10k's scores stand for (Newman et al. 2020).
BASE_LAG = 80.0

# kg of CO2 a kWh in us-east-1, the supplement's A.5.
CARBON = 0.37

TIER_PRESETS = {"paper": paper_tiers, "default": default_tiers, "demo": demo_tiers}
TRAINING_PRESETS = {
    "ablation": ablation_training,
    "memento10k": memento10k_training,
    "videomem": videomem_training,
    "alone": alone_training,
}
UNFROZEN_PRESETS = {"small": small_unfrozen, "gpu80": one_large_unfrozen, "gpu24x8": eight_small_unfrozen}
