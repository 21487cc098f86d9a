"""Maps for benchmarks/explain.py: ours, captum's, and two that know nothing of the score."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from m3ray.config.explain_options import ExplainConfig
from m3ray.errors import ConfigError
from m3ray.scoring.explanations import explain_clip
from m3ray.scoring.explanations.hiding import blur_frames, enlarge
from m3ray.scoring.explanations.overlay import rasterise_heat
from m3ray.scoring.explanations.score_function import ScoreFunction
from m3ray.scoring.scorer import Scorer
from m3ray.tiers import Window
from m3ray.tiers.base import average_windows

OCCLUSION, GRADIENT, CAPTUM, RANDOM, CENTRE = "occlusion", "gradient", "captum", "random", "centre"
_TOGETHER = 16


@dataclass(frozen=True)
class FoundMap:
    """A map and what it cost.

    Args:
        effects: Effect of each pixel of each frame, (T, H, W).
        evaluations: Versions of the clip that were scored.
        seconds: What it took.
    """

    effects: np.ndarray
    evaluations: int
    seconds: float


@dataclass(frozen=True)
class Task:
    """What a map is asked of.

    Args:
        scorer: The scorer.
        frames: The clip, at the size that the scorer sees, uint8, (T, H, W, 3).
        seed: Number of the clip, for maps that are drawn.
        budget: Versions that may be scored.
    """

    scorer: Scorer
    frames: np.ndarray
    seed: int
    budget: int


def score_clips(scorer: Scorer, clips: Sequence[np.ndarray]) -> np.ndarray:
    """Score clips of one window each, several at once.

    Args:
        scorer: The scorer, whose tiers are computed from frames.
        clips: N clips, uint8, each (T, H, W, 3), at the size that it sees.
    Returns:
        Scores, mean over runs, (N,).
    """
    scores: list[np.ndarray] = []
    for first in range(0, len(clips), _TOGETHER):
        windows = [Window(np.ascontiguousarray(clip)) for clip in clips[first : first + _TOGETHER]]
        found = {tier.name: tier.compute(windows) for tier in scorer.tiers}
        rows = [{name: average_windows([values[k]]) for name, values in found.items()} for k in range(len(windows))]
        scores.append(ScoreFunction(scorer, {})(rows).mean(axis=0))
    return np.concatenate(scores)


def make_fill(frames: np.ndarray) -> np.ndarray:
    """Make the blurred clip that stands where a clip is hidden, for maps and curves alike."""
    return enlarge(blur_frames(frames), *frames.shape[1:3])


def map_with_ours(
    task: Task, method: Literal["occlusion", "gradient"], seeds: int = ExplainConfig().seeds
) -> FoundMap | None:
    """Map a clip with m3ray; None where the scorer has no gradients."""
    start = time.perf_counter()
    try:
        found = explain_clip(task.scorer, task.frames, ExplainConfig(method, task.budget, seeds=seeds))
    except ConfigError:
        if method == OCCLUSION:
            raise
        return None
    seconds = time.perf_counter() - start
    effects = [rasterise_heat(found, k, task.frames.shape[1:3]) for k in range(found.frames)]
    return FoundMap(np.stack(effects), found.evaluations, seconds)


def map_with_captum(task: Task) -> FoundMap | None:
    """Map a clip with captum's Occlusion, of windows as large as our first parts; None where it is not installed.

    The windows overlap in space, as its tutorials have them, at distances that cost about as many evaluations.
    """
    if find_spec("captum") is None:
        return None
    from captum.attr import Occlusion

    calls = 0

    def score(batch: Tensor) -> Tensor:
        nonlocal calls
        calls += len(batch)
        clips = batch.permute(0, 2, 3, 4, 1).round().to(torch.uint8).numpy()
        return torch.from_numpy(score_clips(task.scorer, list(clips)))

    frames, height, width = task.frames.shape[:3]
    window = (3, -(-frames // 4), height // 4, width // 4)
    steps = max(2, round((task.budget / 4) ** 0.5))
    strides = (3, window[1], *(-(-(side - side // 4) // (steps - 1)) for side in (height, width)))
    clip, fill = (torch.from_numpy(f).permute(3, 0, 1, 2)[None].float() for f in (task.frames, make_fill(task.frames)))
    start = time.perf_counter()
    found = Occlusion(score).attribute(clip, window, strides, fill, perturbations_per_eval=_TOGETHER)
    seconds = time.perf_counter() - start
    return FoundMap(found[0].mean(dim=0).numpy(), calls, seconds)


def map_at_random(task: Task) -> FoundMap:
    """Draw a map of 8 x 8 x 8 parts."""
    rng = np.random.default_rng([task.seed, 1])
    return FoundMap(_enlarge_parts(rng.random((8, 8, 8)), task.frames.shape), 0, 0.0)


def map_the_centre(task: Task) -> FoundMap:
    """Expect effects in the middle of the frame and of the time, as people film."""
    sides = [np.linspace(-1, 1, count) for count in task.frames.shape[:3]]
    time_, rows, columns = np.meshgrid(*sides, indexing="ij")
    return FoundMap(np.exp(-(time_**2 + rows**2 + columns**2)), 0, 0.0)


def _enlarge_parts(parts: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values of parts to pixels of frames, (T, H, W)."""
    places = [np.arange(count) * side // count for count, side in zip(shape[:3], parts.shape, strict=True)]
    return np.asarray(parts[np.ix_(*places)])


def _with_seeds(seeds: int) -> Callable[[Task], FoundMap | None]:
    return lambda task: map_with_ours(task, "occlusion", seeds)


METHODS: dict[str, Callable[[Task], FoundMap | None]] = {
    OCCLUSION: lambda task: map_with_ours(task, "occlusion"),
    **{f"{OCCLUSION}, seeds {k}": _with_seeds(k) for k in (1, 2) if k != ExplainConfig().seeds},
    GRADIENT: lambda task: map_with_ours(task, "gradient"),
    CAPTUM: map_with_captum,
    RANDOM: map_at_random,
    CENTRE: map_the_centre,
}
