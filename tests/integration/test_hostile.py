"""Hostile files and names through a whole job: each accounted for, nothing else read, no address asked."""

import os
from pathlib import Path

import pandas as pd
import pytest
from hostile import REASONS, canary, make_corpus, watched_children

from m3ray.config import ComputeConfig, LimitsConfig
from m3ray.config.options import ExtractOptions

pytestmark = pytest.mark.integration
MEMORY_MB = 2048


def test_a_hostile_folder_is_accounted_for_file_by_file(jobs, tmp_path):
    folder = tmp_path / "videos"
    with canary() as (address, visitors), watched_children() as peak:
        clips, sound = make_corpus(folder, address)
        assert clips >= 60
        options = ExtractOptions(
            out=str(tmp_path / "out"),
            dataset="folder",
            root=str(folder),
            tiers=("raw",),
            fps=5,
            max_rejects="100%",
            limits=LimitsConfig(memory_mb=MEMORY_MB, decode_seconds=10, max_seconds=600),
            compute=ComputeConfig(threads=1),
        )
        jobs.extract(options)
    catalogue = pd.read_parquet(tmp_path / "out" / "catalogue.parquet")
    rejects = pd.read_parquet(tmp_path / "out" / "rejects").set_index("clip_id")
    (raw,) = (tmp_path / "out" / "features").glob("raw-*")
    computed = set(pd.read_parquet(raw)["clip_id"])
    assert len(catalogue) == clips
    assert computed | set(rejects.index) == set(catalogue["clip_id"])
    assert not computed & set(rejects.index)
    assert sound <= computed, "a name is no reason"
    assert set(rejects["error"]) <= REASONS
    assert (rejects["message"].str.len() > 15).all()
    expected = {
        "hls-local.mp4": "not_a_video",
        "concat.mp4": "not_a_video",
        "empty.mp4": "empty_file",
        "large.mp4": "too_large",
        "long.mp4": "too_long",
        "audio.mp4": "no_video_stream",
        "fifo.mp4": "not_a_file",
        "socket.mp4": "unreadable_file",
        "dangling.mp4": "missing_file",
        "loop.mp4": "unreadable_file",
        "outside.mp4": "link_outside",
        "climbs.mp4": "link_outside",
        "endless.mp4": "link_outside",
        "linked-folder.mp4": "link_outside",
        "bomb.png": "too_large",
        "bomb.jpg": "too_large",
        "bomb.webp": "too_large",
        "bomb.bmp": "too_large",
        "cut.jpg": "truncated",
        "cut.png": "truncated",
        "rows-missing.jpg": "truncated",
        "text.jpg": "not_a_video",
        "zip.png": "not_a_video",
        "empty.webp": "empty_file",
        "asks.png": "unsupported_image",
        "HEIC.png": "unsupported_image",
    }
    assert rejects.loc[list(expected), "error"].to_dict() == expected
    assert visitors == [], "no address was asked"
    assert not Path("pwned").exists()
    assert not list(folder.parent.glob("**/pwned"))
    assert 0 < peak[0] < MEMORY_MB
    assert os.path.exists(folder / "fifo.mp4")
