"""Maps made by hand: a clip of grey frames whose upper left corner adds to the score while it lasts."""

import numpy as np

from m3ray.scoring.explanations import Cell, Explanation
from m3ray.scoring.explanations.clip_view import Pictures
from m3ray.scoring.explanations.parts import Part


def make_map(clip_id="a.mp4", frames=20, score=0.7, **given):
    """Two segments (one of an image) of two by two parts; the upper left of the last one adds 0.08."""
    segments = 2 if frames > 1 else 1
    edges = [round(k * frames / segments) for k in range(segments + 1)]
    cells = []
    for k in range(segments):
        for top in (0.0, 0.5):
            for left in (0.0, 0.5):
                peak = k == segments - 1 and top == left == 0
                effect = 0.08 if peak else -0.01 if left else 0.002
                cells.append(Cell(Part(edges[k], edges[k + 1], top, top + 0.5, left, left + 0.5), effect, 0.004, 0.003))
    kept = np.arange(0, frames, 2)
    pictures = Pictures(np.full((len(kept), 120, 320, 3), 128, np.uint8), kept)
    values = {"budget": 128, "evaluations": 4 * segments, "seconds": 2.0, "rate": 10.0, "seen": frames, **given}
    return Explanation(
        clip_id=clip_id,
        score=score,
        bundle="m3s",
        method="occlusion",
        frames=frames,
        start_grid=(segments, 2, 2),
        cells=tuple(cells),
        pictures=pictures,
        **values,
    )
