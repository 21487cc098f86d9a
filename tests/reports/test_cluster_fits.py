"""Clusters that are found for the figures alone: of which tiers, of which clips, and once."""

import numpy as np
import pyarrow as pa
import pytest

from m3ray.reports import cluster_fits
from m3ray.reports.cluster_fits import find_tier_clusters, list_vector_tiers
from m3ray.similarity import Projection
from m3ray.similarity.clustering import cluster_rows
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, update_tier_index

IDS = [f"c{k:03d}" for k in range(80)]


def make_root(folder, vectors):
    root = Root(str(folder))
    places = pa.array(list(vectors.astype(np.float32)), pa.list_(pa.float32(), vectors.shape[1]))
    root.write_shard(pa.table({"clip_id": IDS[: len(vectors)], "text": places}), ("features", "text-1"), {})
    update_tier_index(root, {"text": TierEntry("text-1", user_provided=True, identity={})})
    return root


def make_vectors(rows=80, columns=12):
    rng = np.random.default_rng(0)
    return 9 * np.eye(columns)[np.arange(rows) % 3] + rng.normal(0, 1, (rows, columns))


def find_clusters(root, train):
    found = find_tier_clusters(root, "text", train)
    assert not isinstance(found, str), found
    return found


def test_clusters_are_those_of_the_projected_vectors_and_found_once(tmp_path, monkeypatch):
    vectors = make_vectors(40).astype(np.float32)
    root, train = make_root(tmp_path, vectors), IDS[5:40]
    ids, plane, clusters = find_clusters(root, train)
    rows = vectors[5:].astype(np.float64)
    expected, groups = cluster_rows(Projection(10).fit(rows).transform(rows))
    assert ids == train
    assert plane == pytest.approx(expected, abs=1e-4)
    assert (clusters == groups).all()
    monkeypatch.setattr(cluster_fits, "cluster_rows", None)
    again = find_clusters(root, train)
    assert again[0] == ids
    assert (again[2] == clusters).all()


def test_many_clips_are_a_sample_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_fits, "MOST_CLIPS", 20)
    ids, plane, clusters = find_clusters(make_root(tmp_path, make_vectors()), IDS)
    assert len(ids) == len(set(ids)) == len(plane) == len(clusters) == 20
    assert ids == sorted(ids)


def test_a_clip_with_a_number_that_is_none_is_left_out(tmp_path):
    vectors = make_vectors(20)
    vectors[3, 2] = np.nan
    assert IDS[3] not in find_tier_clusters(make_root(tmp_path, vectors), "text", IDS)[0]


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (make_vectors(20, 4)[:, :2], "text: it has 2 columns, 3 are the fewest"),
        (make_vectors(9), "text: 9 train clips have it, 10 are the fewest"),
        (np.eye(12)[np.arange(12) % 2], "text: DBSCAN needs 4 different train clips"),
    ],
)
def test_what_cannot_be_clustered_says_why(tmp_path, vectors, said):
    assert find_tier_clusters(make_root(tmp_path, vectors), "text", IDS).startswith(said)


def test_a_tier_whose_features_are_gone_says_so(tmp_path):
    root = make_root(tmp_path, make_vectors(20))
    root.delete_folder("features")
    assert find_tier_clusters(root, "text", IDS) == "text: its features are gone"


def test_vector_tiers_are_those_that_tell_what_a_clip_shows():
    names = [
        "raw",
        "scene",
        "facts",
        "resmem",
        "similarity",
        "similarity:kde",
        "torchvision:resnet18",
        "captions",
        "own",
    ]
    index = {name: TierEntry(f"{name}-1") for name in names}
    assert list_vector_tiers(index) == ["scene", "torchvision:resnet18", "captions", "own"]
