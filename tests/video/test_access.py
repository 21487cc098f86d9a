"""What a process may read and write is tried out: moto's S3 behind a proxy that denies what it is told to."""

import os
import time
from threading import Event
from urllib import request

import obstore
import pyarrow as pa
import pytest
from faulty_s3 import scripted_s3

from m3ray.storage.object_store import open_store
from m3ray.video import reader
from m3ray.video.access import AccessFailure, ReadProbe, probe_read, probe_write, run_with_timeout, sample_locations


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(reader.time, "sleep", lambda _: None)


def upload(*keys):
    for bucket in ("clips", "roots"):
        request.urlopen(request.Request(f"{os.environ['AWS_ENDPOINT_URL']}/{bucket}", method="PUT"))
    for key in keys:
        obstore.put(open_store("s3://clips/x")[0], key, b"bytes")


def uris(*keys):
    return [f"s3://clips/{key}" for key in keys]


def looked(fault, keys=("a", "b"), there=("a", "b")):
    with scripted_s3(lambda method, path: fault(path) if method == "GET" else None) as asked:
        upload(*there)
        del asked[:]
        found = probe_read(uris(*keys))
        return found, len(asked)


def test_one_byte_of_one_clip_is_asked_for():
    assert looked(lambda _: None) == (ReadProbe("s3://clips/a"), 1)


def test_a_missing_clip_says_nothing_of_the_rights():
    assert looked(lambda _: None, keys=("gone", "b")) == (ReadProbe("s3://clips/b"), 2)
    assert looked(lambda _: None, keys=("gone", "none")) == (ReadProbe(), 2)


def test_a_missing_clip_that_is_called_forbidden_says_nothing_either():
    """As S3 answers for what is missing where the bucket may not be listed."""
    found, _ = looked(lambda path: "403" if path.endswith("gone") else None, keys=("gone", "b"))
    assert found == ReadProbe("s3://clips/b")


@pytest.mark.parametrize(
    ("fault", "code"),
    [("403", "AccessDenied"), ("expired", "ExpiredToken"), ("skewed", "RequestTimeTooSkewed"),
     ("no bucket", "NoSuchBucket"), ("broken", "ConnectionFailed")],
)  # fmt: skip
def test_what_is_wrong_with_rights_keys_bucket_or_network_is_told(fault, code):
    found, _ = looked(lambda _: fault)
    assert (found.failure.action, found.failure.uri, found.failure.code) == ("read", "s3://clips/a", code)


@pytest.mark.parametrize("fault", ["503", "500", "archived"])
def test_a_busy_server_and_an_archived_clip_are_left_to_the_job(fault):
    """The job itself waits for the one, and rejects the other by itself."""
    assert looked(lambda _: fault)[0] == ReadProbe()


def test_an_empty_object_was_read():
    with scripted_s3(lambda *_: None):
        upload("a")
        obstore.put(open_store("s3://clips/x")[0], "a", b"")
        assert probe_read(uris("a")) == ReadProbe("s3://clips/a")


@pytest.mark.parametrize(("method", "action"), [("PUT", "write"), ("DELETE", "delete")])
def test_writing_and_deleting_are_told_apart(method, action):
    with scripted_s3(lambda asked, path: "403" if asked == method and "write-test" in path else None):
        upload()
        found = probe_write("s3://roots/r")
    assert (found.action, found.code) == (action, "AccessDenied")
    assert found.uri.startswith("s3://roots/r/runs/write-test-")


def test_a_root_that_may_be_written_is_as_before(tmp_path):
    assert probe_write(str(tmp_path)) is None
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "runs").write_text("a file")
    found = probe_write(str(tmp_path))
    assert found.action == "write"
    assert "runs" in found.describe()


def test_what_to_do_names_the_right_and_whose_it_is():
    denied = AccessFailure("write", "s3://roots/r/runs/x", "AccessDenied", "Access Denied")
    assert denied.describe() == "cannot write s3://roots/r/runs/x: 403 AccessDenied (Access Denied)"
    assert denied.advice("the workers'") == "give the workers' role s3:PutObject on arn:aws:s3:::roots/*"
    keyless = AccessFailure("read", "s3://clips/a", "NoCredentials")
    assert keyless.advice("the workers'").startswith("give the workers' machines a role with s3:GetObject on arn:aws")
    azure = AccessFailure("read", "az://c/a", "AuthorizationPermissionMismatch")
    assert azure.advice("the workers'") == "give the identity Storage Blob Data Reader (on the workers' side)"


def test_a_secret_is_in_no_words():
    assert "hush" not in AccessFailure("read", "https://u:hush@h/a.mp4", "ConnectionFailed").describe()


def test_a_few_clips_of_each_bucket_and_prefix():
    rows = [f"s3://a/x/{k}.mp4" for k in range(100)] + ["s3://a/y/0.mp4", "s3://b/0.mp4", "/nfs/videos/0.mp4", "", None]
    found = sample_locations(pa.chunked_array([rows[:50], rows[50:]]))
    ends = ("s3://a/x/0.mp4", "s3://a/x/33.mp4", "s3://a/x/66.mp4", "s3://a/x/99.mp4")
    assert found == (ends, ("s3://a/y/0.mp4",), ("s3://b/0.mp4",), ("/nfs/videos/0.mp4",))
    assert sample_locations(pa.chunked_array([["", None]])) == ()


def test_very_many_clips_and_prefixes_are_few_places():
    found = sample_locations(pa.chunked_array([[f"s3://a/{k:06d}/x.mp4" for k in range(300_000)]]))
    assert len(found) == 16
    assert all(len(place) <= 4 for place in found)


def test_what_hangs_is_not_waited_for():
    begun = time.monotonic()
    found = run_with_timeout(0.2, [lambda: "quick", lambda: Event().wait(5)], str)
    assert found == ["quick", "1"]
    assert time.monotonic() - begun < 2


def test_what_a_call_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        run_with_timeout(5, [lambda: 1 / 0], str)
