"""The clips that something was fitted on."""

import pytest
from digest_tier import fill, write_scored

from m3ray.datasets.splits import select_fit_clips
from m3ray.pipelines.extraction.fit_clips import describe_changed_fit, note_fit_clips
from m3ray.pipelines.extraction.records import make_work_table
from m3ray.storage.root import Root


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path / "root"))


def test_hog_s_fit_says_how_many_of_its_clips_changed(root, tmp_path):
    """Few train clips are all taken, in the order of ids, as before: the fit of an older root is the same."""
    fill(tmp_path / "v", 12)
    catalogue = write_scored(root, tmp_path)
    chosen, fitted_on = select_fit_clips(catalogue.take(list(range(11, -1, -1))), 10)
    assert (chosen["clip_id"].to_pylist(), fitted_on) == ([f"{k:02d}" for k in range(8)], "train")
    everything, fitted_on = select_fit_clips(catalogue.slice(8), 3)
    assert (everything.num_rows, fitted_on) == (3, "all")
    assert describe_changed_fit(root, "hog_pca", "HOG's PCA", catalogue) is None
    note_fit_clips(root, "hog_pca", chosen)
    assert describe_changed_fit(root, "hog_pca", "HOG's PCA", catalogue) is None
    for name in ("2/0002.mp4", "4/0011.mp4"):  # one of train, one of val
        (tmp_path / "v" / name).write_bytes(b"new")
    words = "1 of the clips that HOG's PCA was fitted on changed since"
    assert describe_changed_fit(root, "hog_pca", "HOG's PCA", write_scored(root, tmp_path)) == words
    assert make_work_table(chosen)["tiers"].to_pylist() == [[]] * 8
