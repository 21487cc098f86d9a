"""What stands beside a file of scores: read where it belongs to these scores, left out where it does not."""

import pytest
from made_beside import write_map, write_neighbours, write_no_map, write_shots
from made_scores import scored_root, write_scores

from m3ray.reports.beside_scores import list_explained, read_beside

PREDICTIONS = ("predictions.parquet",)


@pytest.fixture
def root(tmp_path):
    return scored_root(tmp_path)


def test_without_files_nothing_is_known(root):
    beside = read_beside(root, PREDICTIONS, ["a.mp4"])
    assert not beside.has_any("a.mp4")
    assert list_explained(root, PREDICTIONS) == []


def test_maps_neighbours_and_shots_are_read_clip_by_clip(root):
    write_map(root, "a.mp4")
    write_no_map(root, "b.mp4", "damaged")
    write_neighbours(root, ["a.mp4"], ["t1", "t2"])
    write_shots(root, {"c.jpg": [0.5, 0.6]})
    beside = read_beside(root, PREDICTIONS, ["a.mp4", "c.jpg"])
    assert set(beside.maps) == {"a.mp4"}
    assert len(beside.maps["a.mp4"]["pictures"]) == len(beside.maps["a.mp4"]["picture_times"]) > 2
    assert beside.neighbours["a.mp4"]["neighbour"].tolist() == ["t1", "t2"] * 2
    assert beside.shots["c.jpg"]["start"].tolist() == [0, 2]
    assert list_explained(root, PREDICTIONS) == ["a.mp4", "b.mp4"]
    assert [beside.has_any(clip) for clip in ("a.mp4", "b.mp4", "c.jpg")] == [True, False, True]


@pytest.mark.parametrize(
    "origin", [{"bundle": "another"}, {"catalogue": "predict-0a"}, {"source": "0b"}, {"source": None}]
)
def test_what_belongs_to_other_scores_is_left_out(root, origin):
    write_map(root, "a.mp4", **origin)
    write_neighbours(root, ["a.mp4"], ["t1"], **origin)
    write_shots(root, {"a.mp4": [0.5, 0.6]}, **origin)
    assert not read_beside(root, PREDICTIONS, ["a.mp4"]).has_any("a.mp4")


def test_older_files_belong_together_where_neither_says_of_which_bundle_it_is(tmp_path):
    root = scored_root(tmp_path, source=None)
    write_map(root, "a.mp4")
    write_shots(root, {"b.mp4": [0.5, 0.6]})
    beside = read_beside(root, PREDICTIONS, ["a.mp4", "b.mp4"])
    assert (set(beside.maps), set(beside.shots)) == ({"a.mp4"}, {"b.mp4"})
    write_map(root, "a.mp4", source="0a")
    write_shots(root, {"b.mp4": [0.5, 0.6]}, source="0a")
    assert not any(read_beside(root, PREDICTIONS, [clip]).has_any(clip) for clip in ("a.mp4", "b.mp4"))


def test_of_maps_by_several_bundles_of_one_name_the_scores_one_are_shown(root):
    for clip, source in (("a.mp4", "0b"), ("b.mp4", "0a"), ("c.jpg", "0b")):
        write_map(root, clip, source=source)
    assert list_explained(root, PREDICTIONS) == ["b.mp4"]


def test_random_weights_are_known(root):
    write_map(root, "a.mp4", untrained=True)
    assert read_beside(root, PREDICTIONS, ["a.mp4"]).untrained
    assert not read_beside(root, PREDICTIONS, ["b.mp4"]).untrained


def test_a_further_bundle_s_files_have_its_name(root):
    path = ("predict", "predictions-m3s.parquet")
    write_scores(root, ["a.mp4"], file=path, provenance=None)
    write_shots(root, {"a.mp4": [0.5, 0.6]}, path)
    assert root.exists("predict", "shots-m3s.parquet")
    assert set(read_beside(root, path, ["a.mp4"]).shots) == {"a.mp4"}
    assert not read_beside(root, PREDICTIONS, ["a.mp4"]).has_any("a.mp4")


def test_the_range_of_true_scores_is_the_bundle_s_where_it_lies_in_the_root(root):
    assert read_beside(root, PREDICTIONS, []).known is None
    manifest = {"name": "resmem", "blocks": [], "files": {}, "tiers": {}, "configs": {}, "sources": {}}
    trained = {"lowest_score": 0.31, "highest_score": 0.97}
    root.write_json({**manifest, "untrained": False, "trained_on": trained}, "models", "resmem", "bundle.json")
    assert read_beside(root, PREDICTIONS, []).known == (0.31, 0.97)
    root.write_bytes(b"{", "models", "resmem", "bundle.json")
    assert read_beside(root, PREDICTIONS, []).known is None


def test_a_damaged_file_costs_itself_alone(root, caplog):
    write_map(root, "a.mp4")
    write_neighbours(root, ["a.mp4"], ["t1"])
    root.write_bytes(b"PAR1 cut", "neighbours.parquet")
    name = root.list_names("explanations", "clips")[0]
    beside = read_beside(root, PREDICTIONS, ["a.mp4"])
    assert (set(beside.maps), set(beside.neighbours)) == ({"a.mp4"}, set())
    assert "neighbours.parquet is left out" in caplog.text
    root.write_bytes(b"PAR1 cut", "explanations", "clips", name)
    assert not read_beside(root, PREDICTIONS, ["a.mp4"]).has_any("a.mp4")
