"""Named settings, each a short function, and the addresses of published weights."""

from __future__ import annotations

from dataclasses import replace

from m3ray.config.finetuning import FinetuneConfig
from m3ray.config.tiers import DecodeConfig, EventConfig, RawConfig, SceneConfig, SimilarityConfig, TierConfigs
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
    """The default settings, but so that hundreds of drawn clips take minutes without a GPU.

    Few frames, networks that see them small, and the measure that finds unusual clips with few to compare them with.
    """
    return replace(
        default_tiers(),
        decode=DecodeConfig(fps=4.0),
        scene=SceneConfig(size=64),
        event=EventConfig(size=64),
        similarity=SimilarityConfig(measure="knn_density", kde_fewest=8),
    )


def authors_tiers() -> TierConfigs:
    """As the authors' published code has it, where it is no bug: docs/differences.md names each place.

    Their frames are 500 pixels wide where blurriness is computed, so that their square of 60 is one of 60 here too:
    both count cycles a frame.
    """
    base = paper_tiers()
    theirs = replace(
        base.similarity,
        fractional_of="mean",
        cosine_of="mean",
        leave_one_out=False,
        kde_kernel="epanechnikov",
        kde_fewest=780,
        kde_clusters=20,
        dbscan_noise_column=False,
    )
    return replace(base, raw=RawConfig(blur_half_width=60, blur_logarithm="natural"), similarity=theirs)


def ablation_training() -> TrainConfig:
    """The training of the paper's ablations: plain MSE, 20 epochs."""
    return TrainConfig()


def memento10k_training() -> TrainConfig:
    """The training of Table 5 on Memento10k: MSE with weighted tails."""
    return replace(ablation_training(), loss="mse_tails", tails_centre="data")


def videomem_training() -> TrainConfig:
    """The training of Table 5 on VideoMem: MSE at the first epoch, Spearman at the last."""
    return replace(ablation_training(), loss="mse_to_spearman")


def alone_training() -> TrainConfig:
    """The training of a tier alone: one hidden layer of 64."""
    return replace(ablation_training(), hidden=(64,))


def measure_training() -> TrainConfig:
    """The training of a similarity measure alone, Table 4: 15 epochs."""
    return replace(alone_training(), epochs=15)


def train_as_demo(training: TrainConfig) -> TrainConfig:
    """Settings of a row of the demo's study, which has few clips: one small hidden layer, and more epochs of them.

    Args:
        training: Settings of the row in the paper's tables.
    Returns:
        The settings; the row's loss stays, and a measure alone is trained as in the paper.
    """
    if training.epochs == measure_training().epochs:
        return training
    return replace(training, hidden=(64,), epochs=50, step_size=20, weight_decay=1e-4)


def authors_memento10k_training() -> TrainConfig:
    """The authors' published command for Memento10k: plain MSE; they report the best epoch on val.

    Their soft ranks have the strength 1, at which the Spearman loss is Pearson's correlation.
    """
    return replace(ablation_training(), strength=1.0, tails_centre="data", report="best")


def authors_videomem_training() -> TrainConfig:
    """The authors' published command for VideoMem, its numbers as a search left them."""
    return replace(
        authors_memento10k_training(),
        loss="mse_to_spearman",
        learning_rate=0.0004057400860408805,
        weight_decay=1.1226272823355355e-05,
        step_size=8,
        gamma=0.2852061798531863,
    )


def authors_training(dataset: str | None) -> TrainConfig:
    """The authors' published command for a data set.

    Args:
        dataset: Kind of the root's data set.
    Returns:
        The command's settings: VideoMem's for `videomem`, else Memento10k's.
    """
    return authors_videomem_training() if dataset == "videomem" else authors_memento10k_training()


def train_as_authors(training: TrainConfig, dataset: str | None) -> TrainConfig:
    """Give a row of a study the numbers of the authors' command; its layers, loss and epochs stay.

    Args:
        training: Settings of the row.
        dataset: Kind of the root's data set.
    Returns:
        The settings.
    """
    return replace(authors_training(dataset), hidden=training.hidden, loss=training.loss, epochs=training.epochs)


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

TIER_PRESETS = {"paper": paper_tiers, "default": default_tiers, "demo": demo_tiers, "authors": authors_tiers}
FINETUNE_PRESETS = {"small": finetune_small, "gpu80": finetune_gpu80, "gpu24x8": finetune_gpu24x8}
