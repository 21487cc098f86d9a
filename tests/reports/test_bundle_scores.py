"""Bundles beside the headline: what a root's bundles are, and how well they rank val."""

import pytest

from m3ray.reports.bundle_scores import BundleScore, list_bundle_scores
from m3ray.scoring.bundle_metadata import BundleManifest, BundleMetadata
from m3ray.storage.root import Root

RANKS = {"val_spearman": 0.89606, "val_clips": 1188}


def write_bundle(root, name="m3s", **metadata):
    given = BundleMetadata(untrained=False, **({"variant": {"name": "M3-S"}, "trained_on": RANKS} | metadata))
    root.write_json(BundleManifest(name, given, (), {}).as_json(), "models", name, "bundle.json")


@pytest.fixture
def empty(tmp_path):
    return Root(str(tmp_path))


def test_a_bundle_says_what_it_is_and_how_it_ranks(empty):
    assert list_bundle_scores(empty, "score") == []
    write_bundle(empty, model="ensemble")
    write_bundle(empty, "b", model="mlp")
    write_bundle(empty, "c", model="ridge", variant=None)
    assert list_bundle_scores(empty, "score") == [
        BundleScore("b", "the MLP on the features of M3-S", "0.8961", "1,188"),
        BundleScore("c", "ridge", "0.8961", "1,188"),
        BundleScore("m3s", "the ensemble of the MLP and regressors on the features of M3-S", "0.8961", "1,188"),
    ]


def test_what_does_not_compare_is_left_out(empty):
    write_bundle(empty, "target", target={"name": "alpha", "low": -1.0, "high": 1.0})
    write_bundle(empty, "constant", trained_on={"val_spearman": None, "val_clips": 10})
    write_bundle(empty, "old", trained_on=None)
    empty.write_bytes(b"{", "models", "damaged", "bundle.json")
    empty.write_bytes(b"", "models", "half", "model.safetensors")
    assert list_bundle_scores(empty, "score") == []
    assert [score.name for score in list_bundle_scores(empty, "alpha")] == ["target"]
