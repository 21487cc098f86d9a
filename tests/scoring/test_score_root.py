"""Scores of a root's clips: which clips, which features they may come from, and where predictions go."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from made_bundles import make_pretrained
from made_roots import made_root
from made_scorers import write_scorer
from trained_studies import train_study

from m3ray.config import SimilarityConfig, TierConfigs, TrainConfig
from m3ray.datasets.catalogue import write_catalogue
from m3ray.errors import BundleError, ConfigError, FeatureError
from m3ray.features.load import load_data
from m3ray.schema import Clip, catalogue_table, vector_schema
from m3ray.scoring import score_root as score_root_module
from m3ray.scoring.build import make_bundle
from m3ray.scoring.bundle_metadata import BundleMetadata
from m3ray.scoring.explanations.explained_files import identify_source
from m3ray.scoring.score_root import check_identity, check_user_tiers, read_shared_ids, score_clips, score_root
from m3ray.similarity.fitted import FittedSimilarity
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.compaction import replace_shards
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, read_tier_table, update_tier_index
from m3ray.storage.vector_columns import column_values
from m3ray.study.store import write_trial
from m3ray.study.study import Study
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant

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
    assert made.pop("source") == identify_source(bundle, "")
    assert made == {"bundle": "small", "untrained": True, "job": "reproduce", "catalogue": ""}
    assert table["score"].to_pylist() == frame["score"].tolist()
    assert [value for value in table["curve"].to_pylist() if value is not None] == [[0.3]]
    splits = dict(zip(*(read_catalogue(study.root)[name].to_pylist() for name in ("clip_id", "split")), strict=True))
    assert dict(zip(table["clip_id"].to_pylist(), table["split"].to_pylist(), strict=True)) == splits


def test_predictions_have_inside_and_neighbours_beside_them(scored):
    study, bundle = scored
    frame = score_root(bundle, study.root, study.root, job="reproduce")
    assert frame["inside"].between(0, 1).all()
    assert study.root.read_table("predictions.parquet")["inside"].to_pylist() == frame["inside"].tolist()
    near = study.root.read_table("neighbours.parquet").to_pandas()
    assert set(near["clip_id"]) == set(frame["clip_id"])
    assert set(near["space"]) == {"raw", "scene", "model"}
    train = set(frame.loc[frame["split"] == "train", "clip_id"])
    assert set(near["neighbour"]) <= train
    assert study.root.read_metadata("neighbours.parquet") == study.root.read_metadata("predictions.parquet")
    before = study.root.read_metadata("predictions.parquet")["source"]
    anew = replace(bundle, metadata=replace(bundle.metadata, made_by="another"))
    score_root(anew, study.root, study.root, job="reproduce")
    assert study.root.read_metadata("predictions.parquet")["source"] != before, "another bundle of this name"
    score_root(replace(bundle, reference=None), study.root, study.root, job="reproduce")
    assert not study.root.exists("neighbours.parquet")
    assert "inside" not in study.root.read_table("predictions.parquet").column_names


def test_new_clips_are_in_no_split(scored, tmp_path):
    """A folder's clips get a split when they are listed, by which nothing is trained."""
    study, bundle = scored
    out = Root(str(tmp_path / "out"))
    score_root(bundle, study.root, out, job="predict")
    table = out.read_table("predictions.parquet")
    assert table["split"].null_count == 40
    assert table.schema.field("split").type == pa.string()


@pytest.fixture
def with_similarity(tmp_path):
    """A root whose similarity tier stands as it is after a fit: train clips left out of their own neighbours."""
    root = made_root(tmp_path, rows=40)
    scene = read_tier_table(root, "scene")
    vectors = column_values(scene["scene"])
    is_train = np.array([split == "train" for split in read_catalogue(root)["split"].to_pylist()])
    config = SimilarityConfig(measure="cosine_threshold", sources=("scene",), components=3)
    fitted = FittedSimilarity.fit(config, {"scene": vectors[is_train]}, None, [])
    rows = np.empty((40, len(fitted.columns)), np.float32)
    rows[is_train], rows[~is_train] = fitted.transform_train(), fitted.transform({"scene": vectors[~is_train]})
    table = pa.table(
        {"clip_id": scene["clip_id"], "similarity": list(rows)}, schema=vector_schema("similarity", rows.shape[1])
    )
    root.write_shard(table, ("features", "similarity-made"), {"columns": list(fitted.columns), "one_hot": False})
    update_tier_index(root, {"similarity": TierEntry("similarity-made", untrained=True, identity={})})
    tensors, text = fitted.to_bytes()
    root.write_bytes(tensors, "artifacts", "similarity-made.safetensors")
    root.write_bytes(text, "artifacts", "similarity-made.json")
    return root, is_train


def test_train_clips_of_the_bundle_s_own_root_are_compared_with_the_others(with_similarity):
    """They were compared with themselves too, unlike in training: the score of a train clip was another one."""
    root, is_train = with_similarity
    variant = Variant("M3-S", ("scene", "similarity"), training=TrainConfig(hidden=(8,), epochs=2))
    study = Study(root, "small", load_data(root, variant.tiers), (0, 1))
    write_trial(study, variant, run_trial(variant, study.data, study.seeds, torch.device("cpu")))
    bundle = make_bundle(study, variant, TierConfigs(), {}, "small", "train")
    expected = bundle.score(study.data.features)["score"]
    np.testing.assert_allclose(score_clips(bundle, root)["score"], expected, atol=1e-6)
    # Of another root, or of another fit, the tier is computed, as for new clips.
    root.write_bytes(b"other", "artifacts", "similarity-made.json")
    computed = score_clips(bundle, root)["score"]
    np.testing.assert_allclose(computed[~is_train], expected[~is_train], atol=1e-6)
    assert np.abs(computed - expected)[is_train].max() > 1e-4


def test_clips_that_the_root_s_similarity_lacks_are_computed(with_similarity):
    root, _ = with_similarity
    variant = Variant("M3-S", ("scene", "similarity"), training=TrainConfig(hidden=(8,), epochs=2))
    study = Study(root, "small", load_data(root, variant.tiers), (0,))
    write_trial(study, variant, run_trial(variant, study.data, study.seeds, torch.device("cpu")))
    bundle = make_bundle(study, variant, TierConfigs(), {}, "small", "train")
    whole = score_clips(bundle, root)
    rows = root.read_shards("features", "similarity-made")
    missing = study.data.features.clip_ids[study.data.val[0]]
    replace_shards(root, rows.filter(pc.not_equal(rows["clip_id"], missing)), ("features", "similarity-made"), {})
    pd.testing.assert_frame_equal(score_clips(bundle, root), whole, check_exact=False, atol=1e-6)


def test_predict_leaves_another_job_s_predictions(scored, capsys):
    study, bundle = scored
    score_root(bundle, study.root, study.root, job="reproduce")
    before = study.root.read_bytes("predictions.parquet")
    score_root(bundle, study.root, study.root, job="predict")
    assert study.root.read_bytes("predictions.parquet") == before
    assert study.root.read_table("predict", "predictions.parquet").num_rows == 40
    assert "is the study's, and stays" in capsys.readouterr().out


def test_predict_leaves_the_scores_of_other_clips_and_of_other_bundles(scored, tmp_path_factory, capsys):
    study, bundle = scored
    out = Root(str(tmp_path_factory.mktemp("out")))
    first, second = out.subroot("predict"), out.subroot("predict-12ab")
    for workspace in (first, second):
        shutil.copytree(study.root.uri, workspace.uri)
    score_root(bundle, first, out, job="predict")
    before = out.read_bytes("predictions.parquet")
    for features, scorer, path in (
        (second, bundle, ("predict-12ab", "predictions.parquet")),
        (first, replace(bundle, name="ridge"), ("predict", "predictions.parquet")),
    ):
        score_root(scorer, features, out, job="predict")
        assert out.read_bytes("predictions.parquet") == before
        assert out.read_metadata(*path)["bundle"] == scorer.name
        assert "is of other clips or by another bundle, and stays" in capsys.readouterr().out
    score_root(bundle, first, out, job="predict")
    assert "predict: the scores that small gave these clips before are replaced" in capsys.readouterr().out


def test_a_score_at_a_delay_follows_the_decay_line(scored, capsys):
    """By hand: 40 videos later than the base of 80, at a rate of 0.01 - 0.02 score a video."""
    study, bundle = scored
    with pytest.raises(ConfigError, match="without decay rates"):
        score_root(bundle, study.root, study.root, job="predict", delay=(120, 80))
    metadata = replace(bundle.metadata, decay={"intercept": 0.01, "slope": -0.02})
    frame = score_root(replace(bundle, metadata=metadata), study.root, study.root, job="predict", delay=(120, 80))
    score = frame["score"].to_numpy()
    np.testing.assert_allclose(frame["score_at_delay"], np.clip(score + (0.01 - 0.02 * score) * 40, 0, 1))
    written = study.root.read_table("predictions.parquet").to_pandas()
    np.testing.assert_allclose(written["decay"], 0.01 - 0.02 * score)
    assert "predict: score_at_delay is after 120 videos; score after 80; decay from the score by a line" in (
        capsys.readouterr().out
    )


def test_a_user_s_tier_of_other_columns_is_told():
    identity = {"columns": {"text": 3}}
    bundle = SimpleNamespace(name="m3s", metadata=BundleMetadata(False, {"text": TierEntry("t", identity=identity)}))
    check_user_tiers(bundle, [SimpleNamespace(name="text", identity=lambda: identity)])
    with pytest.raises(BundleError, match=r"another text than this: columns: \{'text': 3\} then, \{'text': 5\} now"):
        check_user_tiers(bundle, [SimpleNamespace(name="text", identity=lambda: {"columns": {"text": 5}})])


def test_scores_of_a_pretrained_scorer_say_where_they_come_from(tmp_path):
    """They come from its tier alone, without intervals, and the file's metadata has what a page shows."""
    root = made_root(tmp_path / "root")
    outputs = write_scorer(root)
    bundle = make_pretrained()
    frame = score_root(bundle, root, root, job="predict").set_index("clip_id")
    np.testing.assert_allclose(frame["score"], pd.Series(outputs)[frame.index], rtol=1e-6)
    assert not any(name.startswith("share_") for name in frame.columns)
    stored = pq.read_table(f"{root.uri}/predictions.parquet")
    assert stored["low"].null_count == stored["high"].null_count == len(frame), "not calibrated here"
    assert stored["spread"].null_count == 0
    made = root.read_metadata("predictions.parquet")
    assert made["provenance"] == bundle.provenance()
    assert "LaMem" in made["provenance"]["trained_on"]


def test_a_fitted_bundle_s_scores_have_no_such_provenance(scored):
    study, bundle = scored
    score_root(bundle, study.root, study.root, job="predict")
    assert "provenance" not in study.root.read_metadata("predictions.parquet")
