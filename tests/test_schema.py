"""The tables on disk."""

import pyarrow as pa

from m3ray.schema import CATALOGUE, MEMORY, Clip, catalogue_table, feature_names, vector, vector_schema


def test_a_vector_is_a_list_of_fixed_size():
    assert vector(3).equals(pa.list_(pa.float32(), 3))
    assert vector_schema("scene", 720).names == ["clip_id", "scene"]
    assert vector_schema("scene", 720).field("scene").type.list_size == 720


def test_features_are_what_is_neither_id_nor_stamp():
    schema = pa.schema([("clip_id", pa.string()), ("x", pa.float32()), ("content", pa.string())])
    assert feature_names(schema) == ["x"]
    numbers = pa.schema([("clip_id", pa.string()), ("content", pa.float32())])
    assert feature_names(numbers) == ["content"], "a user's own column of that name"


def test_what_viewers_did_is_counts_and_rates():
    counts = ["responses", "hits", "false_alarms", "false_alarm_responses"]
    assert [field.name for field in MEMORY if pa.types.is_integer(field.type)] == counts
    assert not set(MEMORY.names) & set(CATALOGUE.names)


def test_a_catalogue_has_our_columns_and_then_the_user_s():
    clips = [
        Clip("a", "/a.mp4", "train", 0.5, ("x", "y"), {"year": 1999, "uri": "not this"}),
        Clip("b", "/b.mp4", extra={"by": "me"}),
    ]
    table = catalogue_table(clips)
    assert table.column_names == [*CATALOGUE.names, "year", "by"]
    assert table.to_pylist() == [
        {
            "clip_id": "a",
            "uri": "/a.mp4",
            "split": "train",
            "score": 0.5,
            "labels": ["x", "y"],
            "year": 1999,
            "by": None,
        },
        {"clip_id": "b", "uri": "/b.mp4", "split": None, "score": None, "labels": [], "year": None, "by": "me"},
    ]
    assert catalogue_table([]).equals(CATALOGUE.empty_table())
