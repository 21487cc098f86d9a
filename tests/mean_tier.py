"""A tier of one vector, the mean colour, and decoded clips for it; no network and no video."""

import numpy as np

from m3ray.pipelines.extraction.records import DecodedClip
from m3ray.schema import vector_schema
from m3ray.tiers import WeightedValue
from m3ray.video.metadata import VideoMetadata

METADATA = VideoMetadata(64, 48, 10.0, 0.3, 3, 3, 999, "mov", "pyav")
FOLDERS = {"mean": ("features", "mean-1"), "raw": ("features", "raw-1"), "facts": ("features", "facts-1")}


class MeanTier:
    """The mean colour of a clip. It fails on black clips."""

    whole_clip, untrained = True, False

    def __init__(self, name="mean"):
        self.name, self.schema = name, vector_schema(name, 3)

    def identity(self):
        return {}

    def setup(self, device):
        self.device = device

    def compute(self, windows):
        out = []
        for window in windows:
            if not window.frames.any():
                raise ValueError("too dark")
            out.append({self.name: WeightedValue(window.frames.mean(axis=(0, 1, 2)), len(window.frames))})
        return out


def gray_clip(clip_id, brightness):
    """A decoded clip of three gray frames, for the tier `mean`."""
    frames = np.full((3, 8, 8, 3), brightness, np.uint8)
    return DecodedClip(clip_id, f"/{clip_id}", ("mean",), METADATA, frames, seconds=0.5)
