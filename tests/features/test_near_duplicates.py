"""The search for near duplicates in a root: what is compared, what is written, and when it is looked for again."""

import logging

import numpy as np
import pyarrow as pa
import pytest
from made_roots import made_root

from m3ray.datasets.duplicates import DUPLICATES_FILE, DUPLICATES_SCHEMA
from m3ray.features import near_duplicates
from m3ray.features.near_duplicates import update_duplicates
from m3ray.schema import RAW, vector_schema
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.tier_index import TierEntry, read_tier_index, read_tier_table, update_tier_index

CLIPS = 60


@pytest.fixture
def root(tmp_path):
    return made_root(tmp_path, rows=CLIPS)


def change_raw(root, change):
    """Write the raw tier anew, its rows changed by a function of a list of dictionaries."""
    rows = read_tier_table(root, "raw").to_pylist()
    change(rows)
    folder = f"{read_tier_index(root)['raw'].folder}-again"
    root.write_shard(pa.Table.from_pylist(rows, schema=RAW), ("features", folder), {})
    update_tier_index(root, {"raw": TierEntry(folder, identity={})})


def copy_pictures(rows, noise=0.01):
    """c0001 is c0000 once more, encoded anew: as many other bytes, and all but the same picture."""
    rows[1] = {**rows[0], "clip_id": "c0001", "size_bytes": 3 * rows[0]["size_bytes"]}
    rows[1]["brightness"] += noise


def find(root, **more):
    found = update_duplicates(root, read_catalogue(root), 0.95, **more)
    assert found.schema.equals(DUPLICATES_SCHEMA)
    return [tuple(row.values()) for row in found.to_pylist()]


def add_network(root, vectors, *, untrained=False, tier="event", user_provided=False):
    ids = read_catalogue(root)["clip_id"]
    table = pa.table({"clip_id": ids, tier: list(vectors)}, schema=vector_schema(tier, vectors.shape[1]))
    root.write_shard(table, ("features", f"{tier}-made"), {})
    entry = TierEntry(f"{tier}-made", untrained=untrained, identity={}, user_provided=user_provided)
    update_tier_index(root, {tier: entry})


def draw_vectors(*copies, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((CLIPS, 50)).astype(np.float32)
    for one, other in copies:
        vectors[other] = vectors[one]
    return vectors


def test_a_copy_that_was_encoded_anew_is_found_and_nothing_else(root):
    assert find(root) == []
    change_raw(root, copy_pictures)
    (one, group, kind, similarity, nearest), other = find(root)
    assert (one, group, kind, nearest) == ("c0000", 0, "vectors", "c0001")
    assert 0.99 < similarity < 1
    assert (other[0], other[1], other[4]) == ("c0001", 0, "c0000")


def test_the_same_picture_in_another_container_is_the_same_content(root):
    change_raw(root, lambda rows: copy_pictures(rows, noise=0))
    assert [(row[0], row[2:]) for row in find(root)] == [
        ("c0000", ("content", 1.0, "c0001")),
        ("c0001", ("content", 1.0, "c0000")),
    ]


def test_a_trained_network_has_to_agree_and_others_are_not_asked(root):
    change_raw(root, copy_pictures)
    add_network(root, draw_vectors(), untrained=True, tier="scene")
    add_network(root, draw_vectors(), tier="resmem")
    assert len(find(root)) == 2
    add_network(root, draw_vectors())
    assert find(root) == []  # what the network sees are two clips
    root.delete_folder("features", "event-made")
    root.delete(*DUPLICATES_FILE)
    add_network(root, draw_vectors((0, 1)))
    assert len(find(root)) == 2


def test_vectors_of_the_user_are_compared_where_there_are_no_others(root):
    add_network(root, draw_vectors((4, 9)), tier="text", user_provided=True)
    assert find(root) == []  # the raw tier comes first
    root.write_json({}, "artifacts", "tiers.json")
    add_network(root, draw_vectors((4, 9)), tier="text", user_provided=True)
    assert [row[0] for row in find(root)] == ["c0004", "c0009"]


def test_captions_are_not_compared_as_many_clips_are_described_alike(root):
    root.write_json({}, "artifacts", "tiers.json")
    add_network(root, draw_vectors((4, 9)), tier="captions")
    assert find(root) == []


def test_clips_without_features_are_in_no_group(root):
    change_raw(root, lambda rows: (copy_pictures(rows), rows.pop()))
    assert [row[0] for row in find(root)] == ["c0000", "c0001"]


def test_it_is_looked_for_again_only_where_something_has_changed(root, monkeypatch):
    change_raw(root, copy_pictures)
    first = find(root)
    monkeypatch.setattr(near_duplicates, "find_close_vectors", lambda *_: pytest.fail("it was looked for again"))
    assert find(root) == first
    assert root.read_metadata(*DUPLICATES_FILE)["threshold"] == 0.95
    assert root.read_metadata(*DUPLICATES_FILE)["tiers"] == ["raw"]
    monkeypatch.undo()
    change_raw(root, lambda rows: rows[1].update(brightness=9.0))
    assert find(root) == []


def test_very_many_clips_are_compared_by_content_alone_unless_asked_for(root, monkeypatch, caplog):
    monkeypatch.setattr(near_duplicates, "MAX_COMPARED", CLIPS - 1)
    change_raw(root, copy_pictures)
    with caplog.at_level(logging.INFO):
        assert find(root) == []
    assert "--group duplicates compares them" in caplog.text
    assert len(find(root, asked_for=True)) == 2


def test_vectors_on_disk_give_the_same(root, monkeypatch):
    change_raw(root, lambda rows: (copy_pictures(rows), rows.pop(5)))
    held = find(root)
    monkeypatch.setattr(near_duplicates, "_MAX_HELD_BYTES", 0)
    root.delete(*DUPLICATES_FILE)
    assert find(root) == held
    assert len(held) == 2


def test_a_clip_that_lacks_one_tier_is_compared_with_none(root):
    """It would be compared as zeros."""
    change_raw(root, lambda rows: (copy_pictures(rows), rows.pop(0)))
    add_network(root, draw_vectors((0, 1), (2, 3)))
    vectors = near_duplicates._list_vectors(root)
    ids = read_catalogue(root)["clip_id"].cast("string").combine_chunks()
    with near_duplicates._hold_vectors(root, ids, list(vectors.values())) as (rows, _):
        assert len(rows) == CLIPS - 1


def test_another_threshold_looks_again(root):
    change_raw(root, copy_pictures)
    assert len(find(root)) == 2
    assert update_duplicates(root, read_catalogue(root), 0.9999999).num_rows == 0


def test_vectors_of_the_user_do_not_confirm_what_the_raw_tier_says(root):
    change_raw(root, copy_pictures)
    add_network(root, draw_vectors(), tier="text", user_provided=True)
    assert len(find(root)) == 2


def test_a_network_needs_to_agree_no_more_than_was_asked_for(root):
    """At a threshold below what a network has to reach otherwise (0.8), the threshold is what it has to reach."""
    change_raw(root, copy_pictures)
    vectors = draw_vectors()
    one, other = (
        vectors[0] / np.linalg.norm(vectors[0]),
        vectors[1] - vectors[0] * (vectors[1] @ vectors[0]) / (vectors[0] @ vectors[0]),
    )
    vectors[1] = np.linalg.norm(vectors[0]) * (0.7 * one + np.sqrt(1 - 0.7**2) * other / np.linalg.norm(other))
    add_network(root, vectors)
    assert find(root) == []
    found = update_duplicates(root, read_catalogue(root), 0.6)["clip_id"].to_pylist()
    assert {"c0000", "c0001"} <= set(found)
