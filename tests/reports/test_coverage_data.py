"""Which clips the coverage of a bundle's intervals is measured on."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from safetensors.numpy import save

from m3ray.datasets.catalogue import write_catalogue
from m3ray.reports.coverage_data import describe_sources, find_coverage
from m3ray.schema import Clip, catalogue_table
from m3ray.scoring.bundle_metadata import BundleManifest, BundleMetadata
from m3ray.scoring.intervals import fit_intervals
from m3ray.storage.root import Root


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path))


def write_bundle(root, name, clips=None, calibrated_on="val"):
    """A bundle's manifest, and its intervals' file where it has one."""
    manifest = BundleManifest(name, BundleMetadata(False, calibrated_on=calibrated_on), (), {})
    root.write_json(manifest.as_json(), "models", name, "bundle.json")
    if clips is None:
        return
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.4, 0.9, clips)
    truth = scores + rng.normal(0, 0.02 + 0.1 * (0.9 - scores))
    rule = fit_intervals(scores, truth)
    tensors = {"knots": rule.knots, "low": rule.low, "high": rule.high}
    calibration = np.stack([scores, truth]).astype(np.float32)
    root.write_bytes(save({**tensors, "calibration": calibration}), "models", name, "intervals.safetensors")


def test_val_is_cross_validated_where_no_test_clip_is_scored(root):
    write_bundle(root, "m3s", 400)
    write_bundle(root, "tuned", 300, "train, 5 folds")
    (first, second), missing = find_coverage(root)
    assert missing == []
    assert (first.bundle, first.source) == ("m3s", "400 clips of val, cross-validated")
    assert second.source == "300 clips of train, 5 folds, cross-validated"
    assert first.covered.shape == first.scores.shape == (400,)
    assert abs(first.covered.mean() - 0.9) < 0.05
    assert describe_sources([first, second]) == f"m3s: {first.source}; tuned: {second.source}"


def write_predictions(root, name, tests, catalogue=""):
    clips = [Clip(f"c{k:03d}", "", split="test" if k < tests else "val", score=0.5) for k in range(100)]
    write_catalogue(root, catalogue_table(clips), 0)
    low = np.where(np.arange(100) % 10 == 0, 0.6, 0.4)  # of every tenth clip the interval lies above the truth
    frame = pd.DataFrame({"clip_id": [c.clip_id for c in clips], "score": 0.7, "low": low, "high": 0.9})
    made = json.dumps({"bundle": name, "job": "reproduce", "catalogue": catalogue})
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({b"m3ray": made})
    root.write_table(table, "predictions.parquet")


def test_scored_test_clips_are_taken_where_there_are_enough(root):
    write_bundle(root, "m3s", 400)
    write_predictions(root, "m3s", 60)
    (covered,), _ = find_coverage(root)
    assert covered.source == "60 test clips"
    assert covered.covered.sum() == 54
    write_predictions(root, "m3s", 49)
    assert find_coverage(root)[0][0].source.startswith("400 clips of val")


@pytest.mark.parametrize(("name", "catalogue"), [("other", ""), ("m3s", "predict")])
def test_predictions_of_another_bundle_or_of_other_clips_are_not_taken(root, name, catalogue):
    write_bundle(root, "m3s", 400)
    write_predictions(root, name, 60, catalogue)
    assert find_coverage(root)[0][0].source.startswith("400 clips of val")


def test_what_cannot_be_said_is_a_sentence(root):
    write_bundle(root, "few", 30)
    write_bundle(root, "old")
    root.write_bytes(b"{", "models", "torn", "bundle.json")
    root.write_bytes(b"x", "models", "unfinished", "model.safetensors")
    found, missing = find_coverage(root)
    assert found == []
    few, old, torn = missing
    assert few == "Coverage of the intervals of few: 30 clips are too few for tenths, 50 are the fewest."
    assert "old: an older m3ray made the bundle" in old
    assert torn.startswith("Coverage of the intervals of torn: ")
    assert "damaged" in torn
