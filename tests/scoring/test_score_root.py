"""Scores of a root's clips: which clips, which features they may come from, and where predictions go."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from trained_studies import train_study

from m3ray.config import TierConfigs
from m3ray.datasets.catalogue import write_catalogue
from m3ray.errors import BundleError, ConfigError, FeatureError
from m3ray.schema import Clip, catalogue_table
from m3ray.scoring import score_root as score_root_module
from m3ray.scoring.build import make_bundle
from m3ray.scoring.bundle_metadata import BundleMetadata
from m3ray.scoring.score_root import check_identity, check_user_tiers, read_shared_ids, score_clips, score_root
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry

THEN = {"tier": "scene", "code": 1, "config": {"precision": "float32"}, "weights": "abc"}
BUNDLE = SimpleNamespace(name="m3s", metadata=BundleMetadata(False, {"scene": TierEntry("scene-1", identity=THEN)}))


def test_the_same_features_pass():
    check_identity(BUNDLE, "scene", dict(THEN))
    check_identity(BUNDLE, "event", {"tier": "event"})  # one that only similarity looks at, from its own fit


@pytest.mark.parametrize("change", [{"weights": "def"}, {"config": {"precision": "bfloat16"}}, {"code": 2}])
def test_others_are_refused_and_the_difference_named(change):
    (key, value), *_ = change.items()
    with pytest.raises(BundleError, match=rf"m3s was trained on another scene than this: {key}: .* then, ") as caught:
        check_identity(BUNDLE, "scene", THEN | change)
    assert repr(value) in str(caught.value)


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path / "root"))


def test_only_clips_of_the_catalogue_are_scored(root):
    for tier, ids in (("raw", ["a", "b", "c", "d"]), ("scene", ["b", "c", "a"])):
        root.write_shard(pa.table({"clip_id": ids}), ("features", tier), {})
    assert read_shared_ids(root, ["raw", "scene"]).to_pylist() == ["a", "b", "c"], "a root without a catalogue"
    write_catalogue(root, catalogue_table([Clip("c", ""), Clip("a", ""), Clip("d", "")]), 0)
    assert read_shared_ids(root, ["raw", "scene"]).to_pylist() == ["a", "c"]


@pytest.fixture
def scored(tmp_path):
    """A root with a trained study, and the bundle made of it."""
    study, variant, _ = train_study(tmp_path)
    for name in ("hog_pca.safetensors", "hog_pca.json"):
        study.root.write_bytes(b"x", "artifacts", name)
    return study, make_bundle(study, variant, TierConfigs(), {}, "small", "train")


def test_a_root_s_clips_are_scored_from_its_features(scored, monkeypatch):
    study, bundle = scored
    whole = score_clips(bundle, study.root)
    expected = bundle.score(study.data.features)
    pd.testing.assert_frame_equal(whole, expected, check_exact=False, atol=1e-6)
    monkeypatch.setattr(score_root_module, "_CHUNK", 7)
    pd.testing.assert_frame_equal(score_clips(bundle, study.root), whole, check_exact=False, atol=1e-6)


def test_clips_that_the_catalogue_does_not_list_are_left_out(scored):
    study, bundle = scored
    catalogue = read_catalogue(study.root)
    study.root.write_table(catalogue.slice(0, 3), "catalogue.parquet")
    assert score_clips(bundle, study.root)["clip_id"].tolist() == ["c0000", "c0001", "c0002"]
    study.root.write_table(catalogue.slice(0, 0), "catalogue.parquet")
    with pytest.raises(FeatureError, match=r"small: no clip of .* has all of raw, scene: nothing to score"):
        score_clips(bundle, study.root)


def test_ids_are_those_that_all_folders_and_the_catalogue_share(tmp_path):
    root = Root(str(tmp_path))
    for folder, ids in (("a-1", ["c", "b", "a", "d"]), ("b-1", ["d", "a", "x"]), ("b-1", ["c", "d"])):
        root.write_shard(pa.table({"clip_id": ids}), ("features", folder), {})
    assert read_shared_ids(root, ["a-1", "b-1"]).to_pylist() == ["a", "c", "d"]
    root.write_table(pa.table({"clip_id": ["d", "a", "z"]}), "catalogue.parquet")
    assert read_shared_ids(root, ["a-1", "b-1"]).to_pylist() == ["a", "d"]


def test_predictions_say_who_made_them_and_take_what_stands_beside_the_scores(scored):
    study, bundle = scored
    curves = pd.DataFrame({"clip_id": ["c0001"], "times": [[0.5]], "curve": [[0.3]]})
    frame = score_root(bundle, study.root, study.root, job="reproduce", over_time=curves)
    table = study.root.read_table("predictions.parquet")
    made = json.loads(table.schema.metadata[b"m3ray"])
    assert made == {"bundle": "small", "untrained": True, "job": "reproduce", "catalogue": ""}
    assert table["score"].to_pylist() == frame["score"].tolist()
    assert [value for value in table["curve"].to_pylist() if value is not None] == [[0.3]]


def test_predict_leaves_another_job_s_predictions(scored, capsys):
    study, bundle = scored
    score_root(bundle, study.root, study.root, job="reproduce")
    before = study.root.read_bytes("predictions.parquet")
    score_root(bundle, study.root, study.root, job="predict")
    assert study.root.read_bytes("predictions.parquet") == before
    assert study.root.read_table("predict", "predictions.parquet").num_rows == 40
    assert "is the study's, and stays" in capsys.readouterr().out


def test_a_score_at_a_delay_follows_the_decay_line(scored):
    """By hand: 40 videos later than the base of 80, at a rate of 0.01 - 0.02 score a video."""
    study, bundle = scored
    with pytest.raises(ConfigError, match="without decay rates"):
        score_root(bundle, study.root, study.root, job="predict", delay=(120, 80))
    metadata = replace(bundle.metadata, decay={"intercept": 0.01, "slope": -0.02})
    frame = score_root(replace(bundle, metadata=metadata), study.root, study.root, job="predict", delay=(120, 80))
    score = frame["score"].to_numpy()
    np.testing.assert_allclose(frame["score_at_delay"], np.clip(score + (0.01 - 0.02 * score) * 40, 0, 1))


def test_a_user_s_tier_of_other_columns_is_told():
    identity = {"columns": {"text": 3}}
    bundle = SimpleNamespace(name="m3s", metadata=BundleMetadata(False, {"text": TierEntry("t", identity=identity)}))
    check_user_tiers(bundle, [SimpleNamespace(name="text", identity=lambda: identity)])
    with pytest.raises(BundleError, match=r"another text than this: columns: \{'text': 3\} then, \{'text': 5\} now"):
        check_user_tiers(bundle, [SimpleNamespace(name="text", identity=lambda: {"columns": {"text": 5}})])
