"""Scorers for benchmarks/explain.py: a known function of pixels, and a small network that is trained here.

Both are what the project scores with: tiers in a bundle, in a `Scorer`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import pyarrow as pa
import torch
from explain_clips import BASE, GAIN, HALF, PlantedClip, draw_clip
from safetensors.torch import save_file
from torch import Tensor, nn

from m3ray.config import DecodeConfig, SceneConfig, TierConfigs, TrainConfig
from m3ray.features.dataset import Scaling, StudyData
from m3ray.features.matrix import Block, Features
from m3ray.model import StackedMLP
from m3ray.scoring import scorer as scoring
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.bundle_metadata import BundleMetadata
from m3ray.scoring.open_bundle import AnyBundle
from m3ray.scoring.pretrained_bundle import PretrainedBundle
from m3ray.scoring.scorer import Scorer
from m3ray.storage.tier_index import TierEntry
from m3ray.tiers import SceneTier, Tier, WeightedValue, WeightSource, Window
from m3ray.tiers.backbones.prepare import fastest_precision
from m3ray.tiers.base import WindowFeatures
from m3ray.tiers.factory import resolve_precision
from m3ray.tiers.network import Network, Normalise, compute_vectors
from m3ray.tiers.network_tier import VectorTier
from m3ray.tiers.pretrained.facts import PretrainedScorer
from m3ray.tiers.slab import take_frames
from m3ray.training.own_units import make_split
from m3ray.training.stacked import train_runs

FPS = 16 / 3  # 16 frames are 3 s
KNOWN, LEARNT = "known", "learnt"
_TEXTURE = 0.05  # weight of the whole picture's texture, which the patch is not
_WIDTH = 32
_EVERY = 3


def make_scorer(bundle: AnyBundle, tiers: Sequence[Tier]) -> Scorer:
    """Make a scorer of a bundle whose tiers m3ray does not know by name.

    Args:
        bundle: The bundle.
        tiers: Its tiers, not set up.
    Returns:
        The scorer.
    """
    configs = bundle.metadata.configs
    with (
        mock.patch.object(scoring, "open_bundle", return_value=bundle),
        mock.patch.object(scoring, "make_bundle_tiers", return_value=(configs, list(tiers))),
    ):
        return Scorer(bundle.name)


def make_configs(size: int) -> TierConfigs:
    """Settings of frames that are drawn at their final size."""
    return TierConfigs(decode=DecodeConfig(fps=FPS, size=size))


# (a) A known function of pixels.


def measure_look(frames: np.ndarray) -> float:
    """The share of a clip that has the sought look: magenta with dark green a cell to its right.

    Args:
        frames: RGB, uint8, (T, H, W, 3).
    Returns:
        Twice the mean over pixels of how magenta a pixel is times how green its neighbour is, both in [0, 1].
    """
    cell = max(1, frames.shape[2] // 32)
    red, green, blue = (frames[..., k].astype(np.float32) for k in range(3))
    magenta = np.clip((np.minimum(red, blue) - green) / 150, 0, 1)
    dark_green = np.clip((green - np.maximum(red, blue)) / 55, 0, 1)
    return 2 * float((magenta[:, :, :-cell] * dark_green[:, :, cell:]).mean())


@dataclass
class KnownTier:
    """The score of a clip by the formula that it was made with, and a little of its texture, as nuisance.

    Args:
        sign: 1: the patch adds to the score; -1: it takes from it.
        gain: Weight of the patch; 0: the score knows nothing of it.
    """

    sign: float = 1.0
    gain: float = GAIN

    name = KNOWN
    whole_clip, untrained = True, False
    schema: ClassVar[pa.Schema] = pa.schema(
        [("clip_id", pa.string()), (KNOWN, pa.float32()), (f"{KNOWN}_spread", pa.float32())]
    )

    def identity(self) -> dict[str, Any]:
        return {"tier": self.name, "sign": self.sign, "gain": self.gain}

    def setup(self, device: torch.device) -> None:
        """Nothing: there are no weights."""

    def compute(self, windows: Sequence[Window]) -> list[WindowFeatures]:
        return [self._score(window.frames) for window in windows]

    def _score(self, frames: np.ndarray) -> WindowFeatures:
        share = measure_look(frames)
        steps = np.abs(np.diff(frames[..., 1].astype(np.int16), axis=2)).mean() / 255
        base = BASE if self.sign > 0 else BASE + GAIN
        score = base + self.sign * self.gain * share / (share + HALF) + _TEXTURE * float(steps)
        spread = WeightedValue(np.array(0.0), len(frames))
        return {KNOWN: WeightedValue(np.array(score), len(frames)), f"{KNOWN}_spread": spread}


def make_known_scorer(size: int, sign: float = 1.0, gain: float = GAIN) -> Scorer:
    """Make the scorer of the known formula.

    Args:
        size: Height and width of frames, pixels.
        sign: Sign of the patch's effect.
        gain: Its size; 0: none.
    Returns:
        The scorer.
    """
    facts = PretrainedScorer(KNOWN, "Known", "score", 0, None, None, "", None, "nothing", "", "")
    bundle = PretrainedBundle(facts, BundleMetadata(False, configs=make_configs(size)))
    return make_scorer(bundle, [KnownTier(sign, gain)])


# (b) A network that is trained here.


class LookNetwork(nn.Module):
    """Three convolutions on each frame, pooled over space and time: (B, 3, T, H, W) to (B, 32)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, _WIDTH, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
            nn.ReLU(),
        )

    def forward(self, clips: Tensor) -> Tensor:
        """Pool the last layer over pixels and frames."""
        pictures = clips.transpose(1, 2).flatten(0, 1)
        return self.layers(pictures).mean(dim=(2, 3)).unflatten(0, (len(clips), -1)).mean(dim=1)


@dataclass
class LearntTier(VectorTier):
    """The pooled vector of the network, on the whole clip."""

    name = LEARNT
    width = _WIDTH
    whole_clip = True

    @property
    def network(self) -> Network:
        """The network with the weights of its file, not yet built."""
        normalise = Normalise((0.45, 0.45, 0.45), (0.25, 0.25, 0.25))
        return Network(LookNetwork, normalise, self.source, "float32", foldable=False)

    def compute(self, windows: Sequence[Window]) -> list[WindowFeatures]:
        """Compute one vector for each window, weighted by its frames."""
        vectors = compute_vectors(self.loaded, [take_frames(window) for window in windows], self.name)
        return [
            {self.name: WeightedValue(values[self.name].value, len(window.frames))}
            for window, values in zip(windows, vectors, strict=True)
        ]


def train_network(clips: Sequence[PlantedClip], path: Path, epochs: int, seed: int = 0) -> WeightSource:
    """Train the network, with a head of its own, to predict scores; the head is not kept.

    Args:
        clips: Train clips, all of one shape.
        path: File that its weights go to.
        epochs: Passes over the clips.
        seed: Seed of weights and order.
    Returns:
        The weights' file and its hash.
    """
    torch.manual_seed(seed)
    network, head = LookNetwork(), nn.Sequential(nn.Linear(_WIDTH, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid())
    normalise = Normalise((0.45, 0.45, 0.45), (0.25, 0.25, 0.25))
    weights = [*network.parameters(), *head.parameters()]
    steps = epochs * (len(clips) // 16)
    optimiser = torch.optim.Adam(weights, lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    scores = torch.tensor([clip.score for clip in clips], dtype=torch.float32)
    for _ in range(epochs):
        order = torch.randperm(len(clips))
        for batch in order[: len(clips) // 16 * 16].split(16):
            # Every third frame, from a drawn one on: the share of a clip that has the look is nearly the same.
            first = int(torch.randint(_EVERY, ()))
            frames = torch.from_numpy(np.stack([clips[int(k)].frames[first::_EVERY] for k in batch]))
            loss = nn.functional.mse_loss(head(network(normalise(frames)))[:, 0], scores[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
    return WeightSource(str(path), hashlib.sha256(path.read_bytes()).hexdigest())


def fit_bundle(clips: Sequence[PlantedClip], source: WeightSource, runs: int = 4) -> tuple[Bundle, LearntTier]:
    """Fit the project's own model to the network's vectors, as a bundle.

    Args:
        clips: Clips, of which every fifth is val.
        source: Weights of the network.
        runs: Runs of the MLP.
    Returns:
        The bundle, and its tier, set up.
    """
    tier = LearntTier(SceneConfig(precision="float32"), source)
    tier.setup(torch.device("cpu"))
    found = [tier.compute([Window(clip.frames)])[0][LEARNT].value for clip in clips]
    names = tuple(f"{LEARNT}_{k}" for k in range(_WIDTH))
    block = Block(LEARNT, names, scaled=True)
    features = Features(tuple(map(str, range(len(clips)))), np.stack(found).astype(np.float32), (block,))
    scores = np.array([clip.score for clip in clips])
    data = StudyData.make(features, scores, ["val" if k % 5 == 0 else "train" for k in range(len(clips))])
    matrix = torch.from_numpy(np.ascontiguousarray(data.scaled))
    splits = [make_split(matrix, data, rows) for rows in (data.train, data.val)]
    trained = train_runs(splits[0], splits[1], TrainConfig(hidden=(64,), epochs=40, step_size=15), range(runs))
    residuals = np.sort(np.abs(trained.val.mean(axis=0) - data.scores[data.val])).astype(np.float32)
    baseline = data.scaled[data.train].mean(axis=0).astype(np.float32)
    metadata = BundleMetadata(
        False, tiers={LEARNT: TierEntry(LEARNT)}, configs=make_configs(clips[0].frames.shape[1]), seeds=range(runs)
    )
    bundle = Bundle(LEARNT, trained.model, (block,), data.scaling, baseline, residuals, metadata, {})
    return bundle, tier


# (c) A network that knows nothing of the patch.


def make_scene_scorer() -> Scorer:
    """Make a scorer of the scene tier with random weights, and of a random head on standardised vectors."""
    configs = resolve_precision(TierConfigs(), bfloat16=fastest_precision(torch.device("cpu")) is torch.bfloat16)
    tier = SceneTier(configs.scene, WeightSource())
    tier.setup(torch.device("cpu"))
    found = tier.compute([Window(draw_clip(seed, frames=1, size=256).frames) for seed in range(16)])
    vectors = np.stack([values["scene"].value for values in found]).astype(np.float32)
    block = Block("scene", tuple(f"scene_{k}" for k in range(SceneTier.width)), scaled=True)
    zeros = np.zeros(SceneTier.width, np.float32)
    scaling = Scaling(vectors.mean(axis=0), vectors.std(axis=0) + 1e-6)
    model = StackedMLP(SceneTier.width, (64,), [0, 1]).eval()
    metadata = BundleMetadata(True, tiers={"scene": TierEntry("scene")}, configs=configs, seeds=[0, 1])
    bundle = Bundle("scene", model, (block,), scaling, zeros, np.linspace(0, 0.1, 20, dtype=np.float32), metadata, {})
    return make_scorer(bundle, [tier])
