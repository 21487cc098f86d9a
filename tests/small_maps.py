"""Small maps: a clip of noise, a tier whose score is known, and explanations that are written by hand."""

from typing import ClassVar

import numpy as np
import pyarrow as pa
from made_bundles import make_pretrained

from m3ray.config import DecodeConfig
from m3ray.scoring.explanations.clip_view import Pictures, view_clip
from m3ray.scoring.explanations.evaluator import Evaluator
from m3ray.scoring.explanations.explanation import Cell, Explanation
from m3ray.scoring.explanations.frame_store import FrameStore
from m3ray.scoring.explanations.parts import Part
from m3ray.scoring.frames import window_frames
from m3ray.tiers import WeightedValue

SIZE = 32
DECODE = DecodeConfig(fps=8.0, size=SIZE, window_frames=6)
TIME, ROWS, COLUMNS = slice(4, 8), slice(8, 16), slice(16, 24)


class ContrastTier:
    """A pretrained scorer's columns; its score is the contrast of a box in some of the frames, over 255.

    It counts the frames that it is given.
    """

    name, whole_clip, untrained = "resmem", True, False
    schema: ClassVar[pa.Schema] = pa.schema([("clip_id", pa.string()), ("resmem", pa.float32())])

    def __init__(self):
        self.frames = 0

    def identity(self):
        return {"tier": self.name}

    def setup(self, device):
        self.device = device

    def compute(self, windows):
        found = []
        for window in windows:
            self.frames += len(window.frames)
            start = window.index * DECODE.window_frames
            own = [k for k in range(len(window.frames)) if TIME.start <= start + k < TIME.stop]
            boxes = [float(window.frames[k, ROWS, COLUMNS].std()) / 255 for k in own]
            count = len(window.frames)
            found.append(
                {
                    "resmem": WeightedValue(np.array(sum(boxes) / count), count),
                    "resmem_spread": WeightedValue(np.array(0.0), count),
                }
            )
        return found


class SmallScorer:
    """What maps need of a scorer."""

    def __init__(self, tier):
        self.bundle, self.tiers = make_pretrained(), [tier]

    def select_columns(self, rows, ids, provided):
        from m3ray.scoring.bundle_tiers import select_features

        columns = {f"resmem/{name}": np.stack([row["resmem"][name] for row in rows]) for name in rows[0]["resmem"]}
        return select_features(self.bundle, ids, columns)


def draw_noise(frames=12, seed=0):
    """RGB noise, uint8, (frames, 32, 32, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (frames, SIZE, SIZE, 3), dtype=np.uint8)


def make_view(frames, tier, store=None):
    """A clip that was decoded and computed."""
    return view_clip(window_frames(frames, DECODE), [tier], DECODE.fps, store or FrameStore())


def make_evaluator(frames, tier):
    """A view, and what scores its versions."""
    from m3ray.scoring.explanations.score_function import ScoreFunction

    view = make_view(frames, tier)
    return view, Evaluator(view, [tier], ScoreFunction(SmallScorer(tier), {}))


def make_explanation(cells=None, frames=8, rate=4.0, **changes):
    """Two seconds: the left half adds 0.02 in the first second, the lower right quarter takes 0.01 in the other one."""
    cells = cells or (
        Cell(Part(0, 4, right=0.5), 0.02, 0.003, 0.004),
        Cell(Part(0, 4, left=0.5), 0.0, 0.0, 0.0),
        Cell(Part(4, 8, bottom=0.5, level=1), 0.005, 0.001, 0.008),
        Cell(Part(4, 8, top=0.5, right=0.5, level=1), 0.001, 0.0, 0.0),
        Cell(Part(4, 8, top=0.5, left=0.5, level=1), -0.01, 0.0, 0.0),
    )
    pictures = Pictures(np.full((frames, 36, 64, 3), 128, np.uint8), np.arange(frames))
    facts = {"budget": 16, "evaluations": 10, "seconds": 1.5, "frames": frames, "rate": rate, "seen": frames}
    return Explanation(
        **{
            "clip_id": "a/clip.mp4",
            "score": 0.75,
            "bundle": "m3s",
            "method": "occlusion",
            "start_grid": (2, 1, 2),
            "cells": tuple(cells),
            "pictures": pictures,
            **facts,
            **changes,
        }
    )


def make_image_explanation():
    """One frame, whose left half adds 0.02."""
    cells = (Cell(Part(0, 1, right=0.5), 0.02), Cell(Part(0, 1, left=0.5), 0.0))
    return make_explanation(cells, frames=1, start_grid=(1, 1, 2))
