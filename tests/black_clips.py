"""Clips on disk whose first frames are alike."""

import numpy as np

from m3ray.video.encode import encode_clip


def write_clips(folder, count, first=0):
    """Clips whose first frames are one black picture, and whose further ones differ; a table with scores."""
    folder.mkdir()
    rng = np.random.default_rng(2)
    for k in range(count):
        levels = [first, first, *rng.integers(10, 60 + 8 * k, 4)]
        frames = np.stack([np.full((64, 64, 3), level, np.uint8) for level in levels])
        (folder / f"{k:02}.mp4").write_bytes(encode_clip(frames, 6))
    rows = "".join(f"{k:02}.mp4,{0.3 + 0.02 * k:.2f}\n" for k in range(count))
    (folder / "clips.csv").write_text(f"uri,score\n{rows}")
    return folder / "clips.csv"
