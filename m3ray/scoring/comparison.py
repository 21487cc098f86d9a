"""Which of several clips is the more memorable one, by how much, and with what probability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from m3ray.errors import ConfigError
from m3ray.features.target import SCORE
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.intervals import ErrorShape
from m3ray.scoring.open_bundle import AnyBundle
from m3ray.scoring.truth_model import FEWEST, TruthModel, compare_pairs, explain_no_model, fit_truth_model

if TYPE_CHECKING:
    import pandas as pd

CANNOT_SAY = 0.6
"""Probability below which nothing can be said of who is ahead."""
_MOST_CONTENDERS = 500
_BLOCK = 20_000  # clips whose distributions are in memory at once


def compare(predictions: pd.DataFrame, bundle: AnyBundle) -> pd.DataFrame:
    """Rank clips, and tell how sure the order is.

    Args:
        predictions: A row a clip: `clip_id`, `score`, and what else is known of it (`spread`, `low`, `high`, ...), as
            `Scorer.predict` gives it or `predictions.parquet` holds it.
        bundle: The bundle that scored them.
    Returns:
        The same rows, the highest score first, with `rank` (from 1; equal scores share one), `lead` (the score less the
        next clip's), `p_next` (probability that the true score is above the next clip's) and `p_best` (that it is above
        all others'). Those are not a number where the bundle is not calibrated, and of the last clip where there is no
        next one. Clips without a score come last, without a rank.
    Raises:
        ConfigError: If the table lacks a column.
    """
    import pandas as pd  # imported with the first result: a bundle opens without it

    missing = [name for name in ("clip_id", "score") if name not in predictions]
    if missing:
        raise ConfigError(f"the table of predictions lacks {', '.join(missing)}: give what predict wrote")
    order = np.argsort(-predictions["score"].to_numpy(np.float64), kind="stable")  # not a number comes last
    frame = predictions.iloc[order].reset_index(drop=True)
    scores = frame["score"].to_numpy(np.float64)
    scored = np.isfinite(scores)
    spread = frame["spread"].to_numpy(np.float64)[scored] if "spread" in frame else None
    ranks = pd.Series(scores).rank(method="min", ascending=False).astype("Int64")
    found = {name: np.full(len(frame), np.nan) for name in ("lead", "p_next", "p_best")}
    found["lead"][: max(0, scored.sum() - 1)] = scores[scored][:-1] - scores[scored][1:]
    model = fit_truth(bundle)
    if model is not None and scored.any():
        found["p_next"][: scored.sum() - 1] = _compare_with_next(model, scores[scored], spread)
        found["p_best"][: scored.sum()] = find_best(model, scores[scored], spread)
    # A clip that is compared anew gets new numbers.
    rest = frame.drop(columns=[name for name in ("rank", *found) if name in frame])
    return pd.concat([ranks.rename("rank"), rest], axis=1).assign(**found)


def fit_truth(bundle: AnyBundle) -> TruthModel | None:
    """Fit where true scores lie around a bundle's, on the clips that its intervals are calibrated on.

    Args:
        bundle: The bundle.
    Returns:
        The model; None: it is not calibrated, or on clips that tell nothing (`describe_probabilities` says why).
    """
    if not isinstance(bundle, Bundle):
        return None
    bounds = bundle.metadata.units.bounds
    if bundle.calibration is not None:
        scores, truth = bundle.calibration.astype(np.float64)
        return fit_truth_model(scores, truth, bundle.calibration_spread, bounds)
    if len(bundle.residuals) < FEWEST or not bundle.residuals.max() > 0:
        return None
    # An older bundle knows how large errors were, and of which clips and in which direction it does not.
    errors = np.sort(np.concatenate([-bundle.residuals, bundle.residuals]).astype(np.float64))
    level = ErrorShape(np.zeros(1), np.zeros(1), np.ones(1), np.ones(1))
    quantiles = np.quantile(errors, (np.arange(101) + 0.5) / 101, method="hazen")
    return TruthModel(level, quantiles, 1 + 1 / len(bundle.residuals), len(bundle.residuals), bounds)


def _explain_no_truth(bundle: Bundle) -> str | None:
    """Why the clips that a bundle is calibrated on tell nothing."""
    if bundle.calibration is not None:
        return explain_no_model(*bundle.calibration)
    count = len(bundle.residuals)
    if count < FEWEST:
        return f"{count} clips to calibrate them on, {FEWEST} are the fewest"
    return f"all {count} clips to calibrate them on were predicted without an error"


def _compare_with_next(model: TruthModel, scores: np.ndarray, spread: np.ndarray | None) -> np.ndarray:
    """Probability that each clip's truth is above that of the one after it, (N - 1,)."""
    found = np.empty(max(0, len(scores) - 1))
    for start in range(0, len(found), _BLOCK):
        part = slice(start, min(start + _BLOCK, len(found)) + 1)
        values = model.draw(scores[part], None if spread is None else spread[part])
        found[part.start : part.stop - 1] = compare_pairs(values[:-1], values[1:])
    return found


def find_best(model: TruthModel, scores: np.ndarray, spread: np.ndarray | None = None) -> np.ndarray:
    """Probability that each clip's truth is above that of all others.

    Args:
        model: Where the truth lies.
        scores: Scores, the highest first, (N,).
        spread: Standard deviation of each over the runs, (N,); None: unknown.
    Returns:
        Probabilities, (N,), that sum to 1; of clips beyond the 500 highest scores 0; not a number of a clip whose
        score is not finite, which is no rival to others.
    """
    known = np.flatnonzero(np.isfinite(scores))
    found = np.where(np.isfinite(scores), 0.0, np.nan)
    if len(known):
        some = known[:_MOST_CONTENDERS]
        found[some] = _find_best_of(model.draw(scores[some], None if spread is None else spread[some]))
    return found


def _find_best_of(values: np.ndarray) -> np.ndarray:
    """Probability that each row's value, of equally likely ones, is above those of all other rows."""
    # P(best) = mean over a clip's values v of the product over the others of P(truth <= v); equal values count half.
    log_products = np.zeros(values.shape)
    for other in values:
        below, upto = (np.searchsorted(other, values, side) for side in ("left", "right"))
        log_products += np.log(np.maximum((below + upto) / (2 * len(other)), 1e-300))
    for row, own in enumerate(values):  # it is not its own rival
        below, upto = (np.searchsorted(own, own, side) for side in ("left", "right"))
        log_products[row] -= np.log((below + upto) / (2 * len(own)))
    chances = np.exp(log_products).mean(axis=1)
    return chances / chances.sum()


def describe_pair(first: Mapping[str, Any], second: Mapping[str, Any], bundle: AnyBundle) -> str:
    """Say which of two clips is the more memorable one.

    Args:
        first: The row of the clip with the higher score, as `compare` gives it.
        second: The other one's.
        bundle: The bundle that scored them.
    Returns:
        A sentence.
    """
    one, other, chance = first["clip_id"], second["clip_id"], float(first["p_next"])
    high, low = (f"{row['score']:.3f}" for row in (first, second))
    if first["lead"] == 0:
        return f"cannot say which is ahead: {one} and {other} score alike, {high}"
    lead, name = f"{high} against {low}, by {first['lead']:.3f}", bundle.metadata.units.name
    is_ahead = "is more memorable than" if name == SCORE else f"has a higher {name} than"
    if not np.isfinite(chance):
        return f"{one} scores higher than {other}: {lead}"
    if chance < CANNOT_SAY:
        sure = format_chance(chance)
        return f"cannot say which is ahead: that {one} ({high}) {is_ahead} {other} ({low}) has a probability of {sure}"
    return f"{one} {is_ahead} {other}: {lead}, with a probability of {format_chance(chance)}"


def format_chance(chance: float) -> str:
    """Write a probability as a percentage; what was seen on a few hundred clips proves no certainty.

    Args:
        chance: Probability, in [0, 1].
    Returns:
        `83 %`, at most `over 99 %`, at least `under 1 %`.
    """
    if chance > 0.99:
        return "over 99 %"
    return "under 1 %" if chance < 0.01 else f"{100 * chance:.0f} %"


def describe_probabilities(bundle: AnyBundle) -> str:
    """Say what probabilities are worth, or why there are none.

    Args:
        bundle: The bundle.
    Returns:
        A line.
    """
    if not isinstance(bundle, Bundle):
        return "no probabilities: it was not calibrated here, and its scores are an order alone"
    model = fit_truth(bundle)
    if model is None:
        return f"no probabilities: {_explain_no_truth(bundle)}"
    source = bundle.metadata.calibrated_on or "val"
    few = "; so few of them say little, and draw probabilities towards 50 %" if model.clips < 30 else ""
    return f"probabilities calibrated on {source} ({model.clips:,} clips){few}"
