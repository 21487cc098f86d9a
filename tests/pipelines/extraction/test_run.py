"""Extraction as a whole, up to where a cluster would be needed."""

import numpy as np
import pytest
from mean_tier import FOLDERS, MeanTier

from m3ray.config.options import ExtractOptions
from m3ray.console import LineKeeper
from m3ray.datasets.registry import list_clips
from m3ray.errors import StudyError
from m3ray.pipelines.extraction import run as extraction
from m3ray.pipelines.extraction.planning import Plan
from m3ray.pipelines.extraction.records import WORK
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.job import Job
from m3ray.request.checks import Request
from m3ray.storage.dry_root import DryRoot
from m3ray.storage.root import Root
from m3ray.tiers.hog_pca import HogProjection


@pytest.fixture
def videos(tmp_path):
    (tmp_path / "v").mkdir()
    for name in "abc":
        (tmp_path / "v" / f"{name}.mp4").write_bytes(name.encode())
    return tmp_path / "v"


def compute(root, videos, dataset="folder", **more):
    options = ExtractOptions(out=root.uri, dataset=dataset, root=str(videos), **more)
    request = Request(options, list_clips(root, dataset, str(videos), limit=None, seed=0))
    with LineKeeper() as log:
        result = extraction.compute_features(Job(root, "extract"), request, Resources(2, 0))
    return result, [line.partition(" ")[2] for line in log.lines]


def test_a_dry_run_of_the_raw_tier_says_that_hog_is_fitted_first(tmp_path, videos):
    result, lines = compute(DryRoot(str(tmp_path / "out")), videos, tiers=("raw",), dry_run=True)
    assert result is None
    assert lines[-1] == "plan: raw: 3 to compute, after HOG's PCA is fitted"
    assert not (tmp_path / "out").exists()


def test_a_dry_run_with_hog_s_pca_prints_the_plan(tmp_path, videos, monkeypatch):
    projection = HogProjection(np.zeros(34596, np.float32), np.ones((10, 34596), np.float32), 20)
    monkeypatch.setattr(extraction, "has_projection", lambda _: True)
    monkeypatch.setattr(extraction, "load_or_fit_projection", lambda *_, **__: projection)
    result, lines = compute(DryRoot(str(tmp_path / "out")), videos, tiers=("raw",), dry_run=True)
    assert result is None
    assert lines[-2:] == ["plan:", "  raw      3 to compute, 0 cached, 0 rejected earlier"]


def test_without_a_computed_tier_the_catalogue_is_all(tmp_path, videos):
    """The model sees user-provided tiers alone: no video is read."""
    result, lines = compute(Root(str(tmp_path / "out")), videos, tiers=("text",))
    assert result.catalogue.num_rows == 3
    assert result.sources == {}
    assert "no tier to compute" in lines[-1]
    assert not (tmp_path / "out" / "features").exists()


def write_captions(tmp_path, *rows):
    (tmp_path / "t.csv").write_text("uri,split,captions\n" + "".join(f"{row}\n" for row in rows))
    return tmp_path / "t.csv"


def test_a_dry_run_counts_captions(tmp_path, videos):
    table = write_captions(tmp_path, "v/a.mp4,train,a dog", "v/b.mp4,train,", "v/c.mp4,val,a cat")
    for tiers in (("captions",), ("raw", "captions")):
        _, lines = compute(DryRoot(str(tmp_path / "out")), table, "table", tiers=tiers, dry_run=True)
        assert "captions: 2 of 3 clips have a caption, 1 of 2 in the train split" in lines


def test_captions_that_the_draw_left_to_val_alone_are_told_before_videos_are_read(tmp_path, videos):
    """Which clips are train is known once splits are drawn: here clip c, without a split, follows its video c."""
    table = write_captions(tmp_path, "v/a.mp4,train,", "v/c.mp4,val,")
    compute(Root(str(tmp_path / "out")), table, "table", tiers=("text",))
    table = write_captions(tmp_path, "v/a.mp4,train,", "v/c.mp4,,a cat")
    with pytest.raises(StudyError, match="none of the 1 clips of the train split has a caption"):
        compute(Root(str(tmp_path / "out")), table, "table", tiers=("raw", "captions"))


def test_the_plan_is_logged_a_line_a_tier(tmp_path):
    plan = Plan(
        Root(str(tmp_path)), (MeanTier(), MeanTier("raw")), FOLDERS, WORK.empty_table(),
        {"mean": 4, "raw": 0}, {"mean": 1, "raw": 5}, 2, changed=3,
    )  # fmt: skip
    with LineKeeper() as log:
        extraction.print_plan(plan)
    assert [line.partition(" ")[2] for line in log.lines] == [
        "plan:",
        "  3 clips changed since they were computed: those and what was fitted on them are computed again",
        "  mean     4 to compute, 1 cached, 2 rejected earlier",
        "  raw      0 to compute, 5 cached, 2 rejected earlier",
    ]
