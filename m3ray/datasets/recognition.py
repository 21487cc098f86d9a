"""Measures of recognition memory from hits and false alarms, as psychology defines them.

A viewer who sees a clip again and says so is a hit; one who says so at its first showing is a false alarm. A clip may
be called known often because it is remembered, or because it looks familiar to everybody: the corrected score and d'
tell the two apart.
"""

from __future__ import annotations

import numpy as np

# Rates of 0 and 1 have no finite z; where nobody knows how many viewers stand behind a rate, it is moved in to these.
CLIPPED = (0.01, 0.99)


def rate(count: np.ndarray, responses: np.ndarray) -> np.ndarray:
    """Share of the responses that are of one kind: the hit rate or the false alarm rate.

    Args:
        count: hits or false alarms, (N,); NaN where unknown.
        responses: viewers who were asked, (N,); NaN where unknown.
    Returns:
        count / responses, float64, (N,); NaN where either is unknown or nobody was asked.
    """
    asked = np.asarray(responses, np.float64)
    asked = np.where(asked > 0, asked, np.nan)
    return np.asarray(count, np.float64) / asked


def corrected_score(hit_rate: np.ndarray, false_alarm_rate: np.ndarray) -> np.ndarray:
    """Hit rate less false alarm rate, the two-high-threshold model's P_r (Snodgrass and Corwin 1988).

    Args:
        hit_rate: share of viewers who recognise the clip, (N,).
        false_alarm_rate: share of viewers who take it for known at first sight, (N,).
    Returns:
        The difference, in [-1, 1], float64, (N,); NaN where either is unknown.
    """
    return np.asarray(hit_rate, np.float64) - np.asarray(false_alarm_rate, np.float64)


def d_prime(
    hit_rate: np.ndarray,
    false_alarm_rate: np.ndarray,
    responses: np.ndarray | None = None,
    false_alarm_responses: np.ndarray | None = None,
) -> np.ndarray:
    """Sensitivity d' = z(hit rate) - z(false alarm rate), z the inverse of the normal distribution function.

    Green and Swets 1966. Rates of 0 and 1 would be infinite: where the number of responses n is known, the log-linear
    correction of Hautus 1995, (count + 0.5) / (n + 1), is applied to every rate; where it is not, rates are moved into
    `CLIPPED`.

    Args:
        hit_rate: in [0, 1], (N,); NaN where unknown.
        false_alarm_rate: in [0, 1], (N,); NaN where unknown.
        responses: viewers behind the hit rate, (N,), NaN where unknown; None: of no clip known.
        false_alarm_responses: viewers behind the false alarm rate, likewise.
    Returns:
        d', float64, (N,); NaN where a rate is unknown.
    """
    from scipy.special import ndtri

    return ndtri(_keep_finite(hit_rate, responses)) - ndtri(_keep_finite(false_alarm_rate, false_alarm_responses))


def _keep_finite(rates: np.ndarray, responses: np.ndarray | None) -> np.ndarray:
    """Rates away from 0 and 1."""
    rates = np.asarray(rates, np.float64)
    known = np.full(rates.shape, np.nan) if responses is None else np.asarray(responses, np.float64)
    # (h + 0.5) / (n + 1), with h = rate n
    return np.where(known > 0, (rates * known + 0.5) / (known + 1), np.clip(rates, *CLIPPED))
