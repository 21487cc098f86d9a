"""Maps on disk: a row says that a map is whole, names are of no two clips, and what is another bundle's is told."""

from types import SimpleNamespace

import pyarrow as pa
import pytest

from m3ray.scoring.explanations.explained_files import (
    CLIPS,
    EXPLAINED,
    MAPS,
    OVERLAYS,
    identify_source,
    name_clip_files,
    read_explained,
    read_map,
    read_origin,
    read_overlay,
    remove_explained,
    write_explained,
    write_failure,
)
from m3ray.storage.root import Root

CELLS = pa.table({"clip_id": ["a"], "t": [0.5], "y": [0.5], "x": [0.25], "effect": [0.1]})
ORIGIN = {"bundle": "m3s", "catalogue": "predict"}


@pytest.fixture
def folder(tmp_path):
    return Root(str(tmp_path / "explanations"))


def write(folder, clip, **row):
    return write_explained(folder, {"clip_id": clip, "score": 0.5, **row}, CELLS, ("webp", b"webp"), ORIGIN)


def test_a_map_is_read_back_with_what_it_says_of_itself(folder):
    row = write(folder, "a", method="occlusion", stamp="1")
    assert row["overlay"] == f"{name_clip_files('a')}.webp"
    table = read_explained(folder)
    assert set(EXPLAINED.names) - set(table.column_names) == {"pictures"}, "they are read where they are shown"
    assert read_explained(folder, pictures=True).to_pylist() == [row]
    assert read_map(folder, "a")["effect"].to_pylist() == [0.1]
    assert read_overlay(folder, row["overlay"]) == b"webp"
    assert read_origin(folder) == ORIGIN


def test_cells_keep_their_own_metadata(folder):
    cells = CELLS.replace_schema_metadata({"budget": "128"})
    write_explained(folder, {"clip_id": "a"}, cells, ("png", b""), ORIGIN)
    assert read_map(folder, "a").schema.metadata[b"budget"] == b"128"
    assert read_explained(folder)["overlay"].to_pylist() == folder.list_names(OVERLAYS)


def test_a_failure_takes_the_place_of_a_map_and_a_map_that_of_a_failure(folder):
    write(folder, "a")
    write_failure(folder, {"clip_id": "a", "reason": "damaged"}, ORIGIN)
    assert read_explained(folder)["reason"].to_pylist() == ["damaged"]
    assert folder.list_names(MAPS) == folder.list_names(OVERLAYS) == []
    write(folder, "a")
    assert read_explained(folder)["reason"].to_pylist() == [None]


def test_a_map_that_is_cut_short_has_no_row(folder, monkeypatch):
    write(folder, "a")
    monkeypatch.setattr(Root, "write_bytes", lambda *_: pytest.fail("killed"))
    with pytest.raises(pytest.fail.Exception):
        write(folder, "a", score=0.9)
    assert read_explained(folder).num_rows == 0


def test_some_clips_of_many_are_read_and_removed(folder):
    for clip in "cab":
        write(folder, clip)
    assert read_explained(folder)["clip_id"].to_pylist() == ["a", "b", "c"]
    assert read_explained(folder, ["b", "z"])["clip_id"].to_pylist() == ["b"]
    remove_explained(folder, ["a", "z"])
    assert read_explained(folder)["clip_id"].to_pylist() == ["b", "c"]
    assert len(folder.list_names(MAPS)) == len(folder.list_names(CLIPS)) == 2


def test_without_a_folder_there_is_nothing(folder):
    assert read_explained(folder).num_rows == 0
    assert read_origin(folder) == {}


def test_names_are_plain_readable_and_of_one_clip_each():
    ids = ["a/beach.mp4", "b/beach.mp4", "../../etc", "ü漢.mp4", "x" * 400, ".hidden", "a\\b.mp4", ""]
    names = [name_clip_files(clip) for clip in ids]
    assert len(set(names)) == len(ids)
    assert names[0].startswith("beach.mp4-")
    assert all(name.isascii() and "/" not in name and not name.startswith(".") for name in names)
    assert max(map(len, names)) < 64


def test_another_bundle_or_catalogue_is_another_source(tmp_path):
    def bundle(text):
        (tmp_path / "bundle.json").write_text(text)
        return SimpleNamespace(name="m3s", uri=str(tmp_path))

    first = identify_source(bundle('{"files": "1"}'), "predict")
    assert first == identify_source(bundle('{"files": "1"}'), "predict")
    assert first != identify_source(bundle('{"files": "1"}'), "predict-0a")
    assert first != identify_source(bundle('{"files": "2"}'), "predict")
