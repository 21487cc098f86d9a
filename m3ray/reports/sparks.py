"""Small curves of a clip's score over time, for its card: points of a line in a box that the page draws as SVG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

WIDTH, HEIGHT = 100.0, 28.0


def make_spark(times: Sequence[float] | None, curve: Sequence[float] | None) -> dict[str, str] | None:
    """Make the small curve of a clip.

    Args:
        times: Middle of each window, seconds.
        curve: Score of each window.
    Returns:
        `points` of the line, left to right in a box of `WIDTH` by `HEIGHT` whose ends are the lowest and the highest
        score, and `text` that says these; None where there are fewer than two windows, as in an image.
    """
    if times is None or curve is None or len(curve) < 2:
        return None
    seconds, scores = np.asarray(times, float), np.asarray(curve, float)
    if not np.isfinite(scores).all():
        return None
    span, swing = float(np.ptp(seconds)) or 1.0, float(np.ptp(scores)) or 1.0
    across = WIDTH * (seconds - seconds.min()) / span
    up = HEIGHT * (1 - (scores - scores.min()) / swing)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, up, strict=True))
    best = seconds[int(np.argmax(scores))]
    text = f"{scores.min():.3f} to {scores.max():.3f}, highest at {best:.1f} s"
    return {"points": points, "text": text}
