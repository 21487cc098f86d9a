"""Clips of one file: the same path, the same bytes, or the same entity tag."""

import os

import pyarrow as pa

from m3ray.datasets.clip_contents import add_contents
from m3ray.datasets.same_content import number_contents
from m3ray.schema import CONTENT, LEARNED_KEY, Clip, catalogue_table
from m3ray.storage.root import Root


def list_files(folder, **contents):
    for name, data in contents.items():
        (folder / f"{name}.mp4").write_bytes(data)
    return [Clip(name, str(folder / f"{name}.mp4")) for name in contents]


def numbers_of(tmp_path, clips, by="fast"):
    table = add_contents(catalogue_table(clips), Root(str(tmp_path / "root")))
    return dict(zip(table["clip_id"].to_pylist(), number_contents(table, by).tolist(), strict=True))


def test_equal_bytes_and_equal_paths_are_one_whatever_they_are_called(tmp_path):
    clips = list_files(tmp_path, a=b"one", b=b"one", c=b"two", d=b"three")
    clips += [Clip("again", f"{tmp_path}/./d.mp4"), Clip("gone", str(tmp_path / "gone.mp4")), Clip("bare", "")]
    for by in ("fast", "hash"):
        numbers = numbers_of(tmp_path, clips, by)
        assert numbers["a"] == numbers["b"]  # c has the same size and other bytes
        assert numbers["d"] == numbers["again"]
        assert len(set(numbers.values())) == 5


def test_files_are_read_only_where_another_has_their_size(tmp_path, monkeypatch):
    clips = list_files(tmp_path, a=b"one", b=b"four", c=b"three")
    os.chmod(tmp_path / "a.mp4", 0)
    read = []
    monkeypatch.setattr("m3ray.datasets.identity._hash_file", read.append)
    numbers_of(tmp_path, clips)
    assert read == []
    numbers_of(tmp_path, [*clips, *list_files(tmp_path, d=b"four")])
    assert sorted(os.path.basename(uri) for uri in read) == ["b.mp4", "d.mp4"]


def test_very_many_bytes_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("m3ray.datasets.same_content._MAX_READ_BYTES", 5)
    clips = list_files(tmp_path, a=b"one", b=b"one")
    assert len(set(numbers_of(tmp_path, clips).values())) == 2


def test_objects_of_one_size_and_entity_tag_are_one():
    content = ["9:1700000000:etag-x", "9:1700000009:etag-x", "9:1700000000:etag-y", "8:1700000000:etag-x"]
    table = catalogue_table([Clip(name, f"s3://b/{name}") for name in "abcd"])
    column = pa.field(CONTENT, pa.string(), metadata={LEARNED_KEY: CONTENT.encode()})
    numbers = number_contents(table.append_column(column, pa.array(content)))
    assert numbers[0] == numbers[1]
    assert len(set(numbers.tolist())) == 3


def test_a_catalogue_of_an_older_version_is_compared_by_paths():
    table = catalogue_table([Clip("a", "/v/a.mp4"), Clip("b", "/v/b.mp4"), Clip("c", "/v/./a.mp4")])
    numbers = number_contents(table)
    assert numbers[0] == numbers[2] != numbers[1]
