"""A study's data from a root: which clips it has, which tiers, and what makes it another study."""

import numpy as np
import pyarrow as pa
import pytest
from made_roots import made_root, write
from made_viewers import add_viewers, made_viewed_root

from m3ray.config import fingerprint
from m3ray.errors import ConfigError, FeatureError, StudyError
from m3ray.features.load import list_study_tiers, load_data, load_target
from m3ray.features.target import Target
from m3ray.schema import REJECTS
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.tier_index import TierEntry, read_tier_table, update_tier_index


def reject(root, ids):
    rows = [{"clip_id": name, "uri": f"{name}.mp4", "stage": "tier", "error": "x", "message": "y"} for name in ids]
    root.write_shard(pa.Table.from_pylist(rows, schema=REJECTS), ("rejects",), {})


def add_user_tier(root, values, scaled):
    ids = read_catalogue(root)["clip_id"]
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.astype(np.float32).ravel()), values.shape[1])
    root.write_shard(pa.table({"clip_id": ids, "v": column}), ("features", "text-1"), {})
    entry = TierEntry("text-1", untrained=False, identity={}, user_provided=True, scaled=scaled)
    update_tier_index(root, {"text": entry})


def test_tiers_are_joined_with_scores_and_splits(tmp_path):
    root = made_root(tmp_path, rows=60)
    loaded = load_data(root, ["raw", "scene"])
    assert loaded.data.features.tiers == ("raw", "scene")
    assert loaded.data.features.values.shape == (60, 15 + 40)
    assert loaded.folders == {"raw": "raw-made", "scene": "scene-made"}
    assert (len(loaded.data.train), len(loaded.data.val)) == (45, 15)
    scene = np.stack(read_tier_table(root, "scene")["scene"].to_pylist())
    np.testing.assert_array_equal(loaded.data.features.values[:, 15:], scene)
    np.testing.assert_allclose(loaded.data.scaled[loaded.data.train][:, 0].mean(), 0, atol=1e-6)


def test_a_tier_that_the_root_lacks_is_named(tmp_path):
    with pytest.raises(StudyError, match="holds no features of tier event"):
        load_data(made_root(tmp_path, rows=40), ["raw", "event"])


def test_more_than_one_in_twenty_may_not_lack_a_tier(tmp_path):
    root = made_root(tmp_path, rows=60, lacking=4)
    with pytest.raises(FeatureError, match=r"4 of 60 scored clips, c0056 among them, lack a tier .* more than 5%"):
        load_data(root, ["raw", "scene"])
    assert len(load_data(root, ["raw", "scene"], allow_missing=True).data.features.clip_ids) == 56
    reject(root, ["c0056", "c0057"])
    assert len(load_data(root, ["raw", "scene"]).data.features.clip_ids) == 56, "two are explained, two are few"


def test_the_key_changes_with_the_clips_and_their_scores_alone(tmp_path):
    one, same = (load_data(made_root(tmp_path / name, rows=40), ["raw"]).key for name in "ab")
    assert one == same
    assert load_data(made_root(tmp_path / "c", rows=41), ["raw"]).key != one
    assert load_data(made_root(tmp_path / "d", rows=40, seed=1), ["raw"]).key != one
    assert load_data(made_root(tmp_path / "e", rows=40), ["raw", "scene"]).key == one


@pytest.mark.parametrize("scaled", [True, False])
def test_a_user_s_vectors_are_scaled_as_a_whole_or_not_at_all(tmp_path, scaled):
    root, values = made_root(tmp_path, rows=40), np.random.default_rng(0).normal(5, [1.0, 3.0], (40, 2))
    add_user_tier(root, values, scaled)
    data = load_data(root, ["text"]).data
    assert data.features.blocks[0].vectors == ((2,) if scaled else ())
    if not scaled:
        np.testing.assert_array_equal(data.scaled, values.astype(np.float32))
        return
    spread = values[data.train].std(axis=0)
    np.testing.assert_allclose(data.scaled[data.train].std(axis=0), spread / np.sqrt((spread**2).mean()), rtol=1e-5)


def test_a_study_sees_computed_tiers_then_the_user_s_then_similarity(tmp_path):
    root = made_root(tmp_path, rows=20)
    add_user_tier(root, np.ones((20, 2)), True)
    for tier in ("similarity:kde", "similarity", "tuned:scene"):
        write(root, tier, pa.table({"clip_id": ["c0000"], "x": [1.0]}))
    assert list_study_tiers(root) == ["raw", "scene", "text", "similarity:kde", "similarity"]


def test_a_study_on_the_score_keeps_the_key_that_it_had_before_there_were_targets(tmp_path):
    root = made_viewed_root(tmp_path, rows=40)
    loaded = load_data(root, ["raw"])
    frame = read_catalogue(root).select(["clip_id", "split", "score"]).to_pandas()
    assert loaded.key == fingerprint(frame.values.tolist()), "the hash of clips, splits and scores alone"
    assert (loaded.data.target, loaded.data.weights, loaded.data.groups) == (Target(), None, None)
    np.testing.assert_array_equal(loaded.data.responses, np.full(40, 40))


def test_targets_and_weights_are_other_studies(tmp_path):
    root = made_viewed_root(tmp_path, rows=40)
    keys = [load_data(root, ["raw"], target=name).key for name in ("score", "hit_rate", "d_prime")]
    keys.append(load_data(root, ["raw"], weigh="responses").key)
    assert len(set(keys)) == 4
    assert load_data(root, ["raw"], target="long").key == keys[0]
    before = load_data(root, ["raw"], weigh="responses").key
    add_viewers(root, responses=[20] * 20 + [40] * 20)
    assert load_data(root, ["raw"], weigh="responses").key != before
    assert load_data(root, ["raw"]).key == keys[0], "numbers of viewers that weigh nothing change nothing"


def test_a_study_is_given_another_target_without_reading_its_matrix_again(tmp_path):
    root = made_viewed_root(tmp_path, rows=40)
    loaded = load_data(root, ["raw"])
    other, anew = load_target(root, loaded, "d_prime"), load_data(root, ["raw"], target="d_prime")
    assert other.data.scaled is loaded.data.scaled
    assert other.key == anew.key
    np.testing.assert_array_equal(other.data.scores, anew.data.scores)
    assert other.data.target == anew.data.target
    with pytest.raises(ConfigError, match="--target alpha: the column is missing"):
        load_target(made_root(tmp_path / "other", rows=40), loaded, "alpha")


def test_infinite_values_are_undefined_and_train_nothing(tmp_path):
    root = made_viewed_root(tmp_path, rows=40)
    values = np.array(read_catalogue(root)["d_prime"].to_pylist())
    values[1] = np.inf
    add_viewers(root, d_prime=values)
    assert 1 not in load_data(root, ["raw"], target="d_prime").data.train


def test_clips_of_one_source_are_numbered(tmp_path):
    root = made_root(tmp_path, rows=40)
    table = read_catalogue(root)
    root.write_table(table.append_column("film", pa.array([str(k // 4) for k in range(40)])), "catalogue.parquet")
    groups = load_data(root, ["raw"], group="film").data.groups
    assert len(np.unique(groups)) == 10
    assert (groups.reshape(10, 4) == groups.reshape(10, 4)[:, :1]).all()
