"""`neighbours.parquet`: all of few clips, the ends of many, none without train clips; it lies beside its scores."""

from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from made_references import draw_features, make_compared_bundle

from m3ray.features.matrix import Features
from m3ray.scoring.reference import neighbour_files
from m3ray.scoring.reference.neighbour_files import SCHEMA, NeighbourCollector, write_neighbours
from m3ray.storage.root import Root


@pytest.fixture(scope="module")
def bundle():
    return make_compared_bundle(draw_features(60, 0, prefix="t"))


def add_all(collector, features, step):
    for start in range(0, len(features.clip_ids), step):
        part = slice(start, start + step)
        some = Features(features.clip_ids[part], features.values[part], features.blocks)
        scores = collector.add(some, collector.bundle.score(some))
    return scores


def test_of_few_clips_all_have_neighbours_and_scores_get_the_column(bundle):
    collector = NeighbourCollector(bundle)
    scores = add_all(collector, draw_features(12, 1), 5)
    assert scores.columns[-1] == "inside"
    table = collector.table()
    assert table.schema == SCHEMA
    assert table.num_rows == 12 * 3 * 5


def test_of_many_clips_it_has_both_ends_and_those_that_are_asked_for(bundle, monkeypatch):
    monkeypatch.setattr(neighbour_files, "MOST_CLIPS", 20)
    monkeypatch.setattr(neighbour_files, "ENDS", 4)
    features = draw_features(100, 1)
    order = bundle.score(features).sort_values("score")["clip_id"].tolist()
    expected = {*order[:4], *order[-4:], order[50]}
    for step in (100, 30, 7):  # a part may be few clips or many
        collector = NeighbourCollector(bundle, asked=(order[50],))
        add_all(collector, features, step)
        assert set(collector.table()["clip_id"].to_pylist()) == expected


def test_without_train_clips_there_is_no_table_and_an_earlier_one_goes(bundle, tmp_path):
    root = Root(str(tmp_path))
    collector = NeighbourCollector(bundle)
    add_all(collector, draw_features(3, 1), 3)
    write_neighbours(root, ("predict", "predictions-b.parquet"), collector.table(), {"bundle": "small"})
    file = tmp_path / "predict" / "neighbours-b.parquet"
    assert pq.read_table(file).num_rows == 45
    assert root.read_metadata("predict", "neighbours-b.parquet") == {"bundle": "small"}
    old = NeighbourCollector(replace(bundle, reference=None))
    assert "inside" not in add_all(old, draw_features(3, 1), 3)
    assert "older m3ray" in old.reason
    write_neighbours(root, ("predict", "predictions-b.parquet"), old.table(), {"bundle": "small"})
    assert not file.exists()
    write_neighbours(root, ("predict", "predictions-b.parquet"), None, {})
