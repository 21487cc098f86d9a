"""Made predictions of exchangeable models: what of their differences varies over clips and what over runs is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Share of noise that all models have in common: rank correlations lie near 0.6, as those of memorability do.
SHARED = 1.3
MEAN, DEVIATION = 0.78, 0.1


@dataclass(frozen=True)
class NullKind:
    """What of a model's predictions is noise of its own.

    Args:
        name: What varies most.
        clips: Deviation of each clip's noise, alike in all of a model's runs.
        interaction: Deviation of each clip's noise in each run.
        runs: Deviation of how much noise a run has as a whole: it is better or worse on every clip.
    """

    name: str
    clips: float = 0.0
    interaction: float = 0.0
    runs: float = 0.0


KINDS = (
    NullKind("clips", clips=0.17),
    NullKind("runs x clips", interaction=0.3),
    NullKind("mixture", clips=0.155, interaction=0.1, runs=0.0055),
    NullKind("runs", clips=0.12, interaction=0.05, runs=0.012),
)


def make_truth(rng: np.random.Generator, clips: int) -> np.ndarray:
    """Standard scores of clips, (V,)."""
    return rng.standard_normal(clips)


def make_models(
    rng: np.random.Generator, kind: NullKind, truth: np.ndarray, models: int, runs: int, effects: np.ndarray | float = 0
) -> np.ndarray:
    """Predictions of models that differ by chance alone, or by `effects` more noise, (M,).

    Args:
        rng: Generator.
        kind: What of them is noise of their own.
        truth: Standard scores, (V,).
        models: Number of models, M.
        runs: Number of runs of each, R.
        effects: More of the shared noise that each model has, (M,).
    Returns:
        Predicted scores, (M, R, V).
    """
    clips = len(truth)
    shared = rng.standard_normal(clips)
    scale = SHARED + np.broadcast_to(effects, models)[:, None] + kind.runs * rng.standard_normal((models, runs))
    own = kind.clips * rng.standard_normal((models, 1, clips))
    own = own + kind.interaction * rng.standard_normal((models, runs, clips))
    return MEAN + DEVIATION / 2 * (truth + scale[..., None] * shared + own)


def make_scores(truth: np.ndarray) -> np.ndarray:
    """Scores of standard ones, (V,)."""
    return MEAN + DEVIATION * truth


def true_difference(kind: NullKind, more: float, metric: str) -> float:
    """The difference that `more` of the shared noise makes, over all clips and runs there could be.

    Truth and prediction are jointly normal, so Spearman's correlation is 6 / pi asin(r / 2) of Pearson's r.

    Args:
        kind: What of the predictions is noise of their own.
        more: More of the shared noise.
        metric: `spearman` or `mse`.
    Returns:
        The difference in the metric.
    """
    own = kind.clips**2 + kind.interaction**2 + kind.runs**2
    noise = np.array([SHARED, SHARED + more]) ** 2 + own
    if metric == "mse":
        # mean of (D (truth + noise) / 2 - D truth)^2
        return float(np.diff(DEVIATION**2 * (1 + noise) / 4)[0])
    return float(np.diff(6 / np.pi * np.arcsin(1 / np.sqrt(1 + noise) / 2))[0])


def find_effect(kind: NullKind, size: float) -> float:
    """How much more of the shared noise lowers the rank correlation by `size`."""
    amounts = np.linspace(0, 2, 20_001)
    losses = [-true_difference(kind, more, "spearman") for more in amounts]
    return float(np.interp(size, losses, amounts))
