"""A file or object that changed under the same name is known to have changed; one that was copied or moved is not."""

import os

import numpy as np
import pyarrow as pa
import pytest

from m3ray.storage import contents as module
from m3ray.storage.contents import content_hashes, find_contents, is_same_content, is_unknown_content, make_stamps

# sha256sum of "one", from coreutils.
ONE = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"


def texts(*values):
    return pa.chunked_array([pa.array(values, pa.string())])


def of(*uris, home="/none", by="fast"):
    return find_contents(texts(*uris), home, by).to_pylist()


def test_a_local_file_is_its_size_and_time(tmp_path):
    file = tmp_path / "a b.mp4"
    file.write_bytes(b"one")
    os.utime(file, ns=(0, 1_700_000_000_123_456_789))
    expected = "3:1700000000123456789"
    assert of(str(file), f"file://{tmp_path}/a%20b.mp4", str(file)) == [expected] * 3
    assert of(str(file), by="hash") == [f"{expected}:sha256-{ONE}"]


def test_what_cannot_be_looked_at_has_none(tmp_path):
    assert of(str(tmp_path), f"{tmp_path}/absent", "/a\0b", "", None, "https://h/a.mp4", "ftp://h/a") == [None] * 7


def test_files_below_the_root_are_known_by_their_bytes_up_to_a_bound(tmp_path, monkeypatch):
    (tmp_path / "demo").mkdir()
    for name in "ab":
        (tmp_path / "demo" / name).write_bytes(b"one")
    uris = [f"{tmp_path}/demo/{name}" for name in "ab"]
    assert all(text.endswith(f":sha256-{ONE}") for text in of(*uris, home=str(tmp_path)))
    monkeypatch.setattr(module, "_MAX_HASHED_BYTES", 5)
    assert [text.count(":") for text in of(*uris, home=str(tmp_path))] == [2, 1]


def test_places_below_the_root_are_relative_and_signed_addresses_cut():
    uris = texts("/r/demo/a", "/rest/a", "s3://b/k?x", "https://h/a.mp4?sig=hush", "", None)
    found = make_stamps(texts("1:2", None, "3:4:etag-x", None, "5:6", "7:8"), uris, "/r").to_pylist()
    assert found == ["1:2 ./demo/a", "? /rest/a", "3:4:etag-x s3://b/k?x", "? https://h/a.mp4", None, None]


A, B = "s3://b/a", "s3://b/b"
PAIRS = [
    (f"3:1 {A}", f"3:1 {A}", True),
    (f"3:1 {A}", f"3:2 {A}", False),
    (f"3:1 {A}", f"4:1 {A}", False),
    (f"3:1 {A}", f"3:1 {B}", False),  # weak: another file of that size and time
    (f"3:1:etag-x {A}", f"3:9:etag-x {B}", True),  # strong: moved, whenever
    (f"3:1:etag-x {A}", f"3:1:etag-y {A}", False),
    (f"3:1:etag-x {A}", f"4:1:etag-x {A}", False),
    (f"3:1:etag-x {A}", f"3:1:sha256-x {A}", True),  # of other kinds: size, time and place decide
    (f"3:1:etag-x {A}", f"3:2:sha256-x {A}", False),
    (f"3:1:etag-x {A}", f"3:1 {A}", True),
    (f"3:1:etag-x {A}", f"3:1 {B}", False),
    (f"? {A}", f"3:1 {A}", True),  # not looked at: the place alone
    (f"? {A}", f"3:1:etag-x {B}", False),
    (f"? {A}", f"? {B}", False),
    (None, f"3:1 {A}", True),  # nothing is known to have changed
    (f"3:1 {A}", None, True),
    (f"3:1 {A}", "what a later version may write", True),
    ("3:-1 /a\nb", "3:-1 /a\nc", False),
]


@pytest.mark.parametrize(("now", "then", "expected"), PAIRS)
def test_one_content(now, then, expected):
    assert is_same_content(texts(now), texts(then)).tolist() == [expected]
    assert is_same_content(texts(then), texts(now)).tolist() == [expected]


def test_many_pairs_at_once_are_as_each_alone():
    now, then, expected = zip(*PAIRS, strict=True)
    assert is_same_content(texts(*now), texts(*then)).tolist() == list(expected)
    assert is_same_content(texts(), texts()).tolist() == []


def test_what_tells_the_bytes():
    found = content_hashes(texts(f"3:1:etag-x-2 {A}", f"3:1 {A}", f"? {A}", None)).to_pylist()
    assert found == ["3:etag-x-2", None, None, None]
    assert is_unknown_content(texts(f"? {A}", f"3:1 {A}", None)).to_pylist() == [True, False, False]


def put(client, bucket, *keys, body=b"one"):
    client.create_bucket(Bucket=bucket)
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=body)


def test_a_replaced_object_and_a_new_version_of_one_size_are_noticed(s3):
    put(s3, "replaced", "a", "b")
    s3.put_bucket_versioning(Bucket="replaced", VersioningConfiguration={"Status": "Enabled"})
    uris = texts("s3://replaced/a", "s3://replaced/b")
    then = make_stamps(find_contents(uris, "/r"), uris, "/r")
    s3.put_object(Bucket="replaced", Key="a", Body=b"two")
    s3.put_object(Bucket="replaced", Key="b", Body=b"one")  # a new version of the same bytes
    now = make_stamps(find_contents(uris, "/r"), uris, "/r")
    assert is_same_content(now, then).tolist() == [False, True]


def test_a_million_files_are_looked_at_as_fast_as_they_can_be(tmp_path):
    """Bound: three times what a slow core takes for 20,000, so that a step a file is noticed before users notice."""
    import time

    for k in range(2000):
        (tmp_path / f"{k}.mp4").write_bytes(b"x")
    uris = pa.chunked_array([pa.array([f"{tmp_path}/{k % 2000}.mp4" for k in range(20_000)])])
    start = time.process_time()
    assert find_contents(uris, "/r").null_count == 0
    assert time.process_time() - start < 2
    assert np.unique(find_contents(uris, "/r").to_numpy()).size <= 2000
