"""Named settings, each a short function, and the addresses of published weights."""

from __future__ import annotations

from dataclasses import replace

from m3ray.config.finetuning import FinetuneConfig
from m3ray.config.tiers import DecodeConfig, SimilarityConfig, TierConfigs
from m3ray.config.training import TrainConfig

_VMZ = "https://github.com/bjuncek/VMZ/releases/download/test_models"

# Tier (and CSN variant) to the address of its weights. Their publishers give no SHA-256, so the hash is recorded and
# not checked; a --weights FILE.json with a hash checks it.
PUBLISHED = {
    "scene": "http://sceneparsing.csail.mit.edu/model/pytorch/ade20k-hrnetv2-c1/encoder_epoch_30.pth",
    "event:ip": f"{_VMZ}/ipCSN_152_ft_kinetics_from_ig65m_f133090949.pth",
    "event:ir": f"{_VMZ}/irCSN_152_ft_kinetics_from_ig65m_f126851907.pth",
}


def paper_tiers() -> TierConfigs:
    """The paper's settings: whole clips at 15 frames a second, DBSCAN's eps for data of its size."""
    return TierConfigs(similarity=SimilarityConfig(eps_scene=1.25, eps_event=0.9))


def default_tiers() -> TierConfigs:
    """The paper's settings, but DBSCAN's eps from the data, as the paper's values suit only 7,000 clips."""
    return TierConfigs()


def demo_tiers() -> TierConfigs:
    """The default settings at 5 frames a second, which take minutes without a GPU, and for few clips."""
    return replace(default_tiers(), decode=DecodeConfig(fps=5.0), similarity=SimilarityConfig(kde_fewest=8))


def ablation_training() -> TrainConfig:
    """The training of the paper's ablations: plain MSE, 20 epochs."""
    return TrainConfig()


def memento10k_training() -> TrainConfig:
    """The training of Table 5 on Memento10k: MSE with weighted tails."""
    return replace(ablation_training(), loss="mse_tails")


def videomem_training() -> TrainConfig:
    """The training of Table 5 on VideoMem: MSE at the first epoch, Spearman at the last."""
    return replace(ablation_training(), loss="mse_to_spearman")


def alone_training() -> TrainConfig:
    """The training of a tier alone: one hidden layer of 64."""
    return replace(ablation_training(), hidden=(64,))


def measure_training() -> TrainConfig:
    """The training of a similarity measure alone, Table 4: 15 epochs."""
    return replace(alone_training(), epochs=15)


def finetune_small() -> FinetuneConfig:
    """Finetuning for a demo on CPUs: 8 frames of 64x64, two epochs.

    It shows that everything works, not what finetuning can reach.
    """
    demo = FinetuneConfig(epochs=2, batch=8, micro_batch=8, size=64, frames=8, precision="float32")
    return replace(demo, checkpointing=False, cache_gb=2.0, keep=1)


def finetune_gpu80() -> FinetuneConfig:
    """Finetuning on GPUs of 80 GB: micro-batches of 16 clips, two accumulation steps on one GPU.

    97 M parameters with their gradients and Adam's moments take 16 bytes each, 1.6 GB. A clip of 45 frames of 256x256
    keeps 3.3 GB of activations in bfloat16, so that 16 clips take about 55 GiB and no block is recomputed
    (`m3ray.training.finetuning.memory` counts them).
    """
    return FinetuneConfig(micro_batch=16)


def finetune_gpu24x8() -> FinetuneConfig:
    """Finetuning on up to eight GPUs of 24 GB: micro-batches of 4 clips, one accumulation step on eight of them.

    Four clips of 45 frames keep 13 GB of activations in bfloat16, which such a GPU holds without recomputation.
    """
    return replace(finetune_gpu80(), micro_batch=4, workers=8)


# Number of videos between the two viewings that Memento10k's scores stand for (Newman et al. 2020).
BASE_LAG = 80.0

# CO2 of electricity in us-east-1, kg a kWh (the paper's supplement, A.5).
CARBON = 0.37

TIER_PRESETS = {"paper": paper_tiers, "default": default_tiers, "demo": demo_tiers}
FINETUNE_PRESETS = {"small": finetune_small, "gpu80": finetune_gpu80, "gpu24x8": finetune_gpu24x8}
