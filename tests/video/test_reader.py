"""Reading clips from moto's S3 through a proxy that counts, and that fails as it is told; and over HTTP."""

import os
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import obstore
import pytest
from faulty_s3 import scripted_s3

from m3ray.errors import DecodeError
from m3ray.storage.faults import StorageFaultError
from m3ray.storage.object_store import open_store
from m3ray.video import reader
from m3ray.video.reader import probe_storage, read_once, read_video

MIB = 1 << 20


def upload(**objects):
    store, _ = open_store("s3://clips/x")
    from urllib import request

    request.urlopen(request.Request(f"{os.environ['AWS_ENDPOINT_URL']}/clips", method="PUT"))
    for key, data in objects.items():
        obstore.put(store, key, data)


@pytest.fixture
def quick(monkeypatch):
    slept = []
    monkeypatch.setattr(reader.time, "sleep", slept.append)
    return slept


def test_one_get_a_clip_and_nothing_else():
    """The issue's number: at most 1.2 GET and 0.1 other a clip, of 1 to 50 MB."""
    sizes = [1, 5, 20, 50]
    with scripted_s3(lambda *_: None) as asked:
        upload(**{f"{size}.mp4": os.urandom(size * MIB) for size in sizes})
        del asked[:]
        for size in sizes:
            assert len(read_video(f"s3://clips/{size}.mp4", 64 * MIB)) == size * MIB
    assert Counter(method for method, _ in asked) == {"GET": len(sizes)}


def test_what_is_too_large_is_not_fetched():
    with scripted_s3(lambda *_: None) as asked:
        upload(large=bytes(20 * MIB))
        del asked[:]
        with pytest.raises(DecodeError, match=f"{20 * MIB} bytes, limit 5: raise limits.max-bytes") as error:
            read_video("s3://clips/large", 5)
    assert error.value.reason == "too_many_bytes"
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("fault", "code", "tries"),
    [("503", "SlowDown", 5), ("500", "InternalError", 5), ("broken", "", 5), ("403", "AccessDenied", 2),
     ("expired", "ExpiredToken", 2), ("skewed", "RequestTimeTooSkewed", 2), ("no bucket", "NoSuchBucket", 2),
     ("archived", "InvalidObjectState", 1)],
)  # fmt: skip
def test_a_fault_of_the_storage_is_tried_again_and_is_none_of_the_clip(quick, fault, code, tries):
    """Seconds, not minutes: 7.5 s on average for what passes, and an expired token is not asked with for long."""
    with scripted_s3(lambda method, _: fault if method == "GET" else None) as asked:
        upload(**{"a.mp4": b"x"})
        del asked[:]
        with pytest.raises(StorageFaultError, match=f"{code}: cannot read s3://clips/a.mp4") as error:
            read_video("s3://clips/a.mp4", 10)
    assert error.value.reason == "storage_failed"
    assert len(asked) == tries
    assert len(quick) == tries - 1
    assert sum(quick) < 12


def test_once_403_and_then_none_reads(quick):
    answers = iter(["403"])
    with scripted_s3(lambda method, _: next(answers, None) if method == "GET" else None):
        upload(**{"a.mp4": b"bytes"})
        assert read_video("s3://clips/a.mp4", 10) == b"bytes"


def test_missing_objects_are_the_clips_own(quick):
    with scripted_s3(lambda *_: None) as asked:
        upload(a=b"x")
        del asked[:]
        with pytest.raises(DecodeError, match="no file at s3://clips/none") as error:
            read_video("s3://clips/none", 10)
    assert (error.value.reason, len(asked)) == ("missing_file", 1)


def test_keys_may_hold_nearly_anything():
    key = "a b/ü?c#d%20e&f=g+h@i:j.mp4"
    with scripted_s3(lambda *_: None):
        upload(**{key: b"bytes"})
        assert read_video(f"s3://clips/{key}", 10) == b"bytes"


def test_a_probe_asks_for_one_byte():
    failing = []
    with scripted_s3(lambda method, _: failing[0] if failing and method == "GET" else None) as asked:
        upload(a=b"bytes")
        del asked[:]
        probe_storage("s3://clips/a")
        probe_storage("s3://clips/gone")  # the storage answers
        failing.append("403")
        with pytest.raises(StorageFaultError):
            probe_storage("s3://clips/a")
    assert len(asked) == 3


def test_a_mount_that_fails_is_no_clips_fault(tmp_path, monkeypatch, quick):
    (tmp_path / "a.mp4").write_bytes(b"x")

    def stale(*_):
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(reader.os, "open", stale)
    with pytest.raises(StorageFaultError, match="ESTALE"):
        read_video(str(tmp_path / "a.mp4"), 10)


def test_schemes_and_secrets(tmp_path):
    for uri, words in (
        ("ftp://h/x.mp4", "ftp:// is not read, just paths and s3, gs, az"),
        ("https://h/x.mp4?X-Amz-Signature=hush", "carries credentials"),
        ("s3://KEY:hu/sh@b/x.mp4", "carries credentials"),
    ):
        with pytest.raises(DecodeError, match=words) as error:
            read_once(uri, 10)
        assert "hu" not in error.value.message.replace("through", "")


@pytest.fixture
def website():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status = 200 if self.path in ("/a%20b.mp4?id=3", "/x//y.mp4", "/cut.ts") else 404
            self.send_response(status)
            self.send_header("Content-Length", "50" if self.path == "/cut.ts" else "5")
            self.end_headers()
            self.wfile.write(b"bytes")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_body_that_ends_early_is_the_connection_s_fault_and_no_shorter_video(website):
    with pytest.raises(StorageFaultError, match=r"ConnectionFailed: .*5 of 50 bytes came"):
        read_once(f"{website}/cut.ts", 100)


def test_over_http(website):
    assert read_video(f"{website}/a%20b.mp4?id=3", 5) == b"bytes"
    assert read_video(f"{website}/a b.mp4?id=3", 5) == b"bytes"
    assert read_video(f"{website}/x//y.mp4", 5) == b"bytes"
    with pytest.raises(DecodeError, match="5 bytes, limit 4"):
        read_video(f"{website}/x//y.mp4", 4)
    with pytest.raises(DecodeError, match="no file at"):
        read_video(f"{website}/none", 5)


def test_public_and_requester_pays_buckets(monkeypatch):
    """The header that S3 asks for, and no signature where there shall be none."""
    seen = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen[self.path.split("/")[1]] = (self.headers["Authorization"], self.headers["x-amz-request-payer"])
            self.send_response(200)
            self.send_header("Content-Length", "1")
            self.send_header("ETag", '"1"')
            self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
            self.end_headers()
            self.wfile.write(b"x")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    for name, value in reading_environment().items():
        monkeypatch.setenv(name, value)
    for bucket in ("usual", "public", "theirs"):
        read_once(f"s3://{bucket}/x", 5)
    server.shutdown()
    server.server_close()
    assert seen["usual"][0].startswith("AWS4-HMAC-SHA256")
    assert seen["usual"][1] is None
    assert seen["public"] == (None, None)
    assert seen["theirs"][1] == "requester"


def reading_environment():
    from m3ray.config import StorageConfig
    from m3ray.storage.schemes import access_as_environment

    return access_as_environment(StorageConfig(anonymous=("public",), requester_pays=("theirs",)))


@pytest.mark.parametrize(
    ("uri", "kind", "key"),
    [
        ("gs://b/a b/x.mp4", "GCSStore", "a b/x.mp4"),
        ("az://c/x.mp4", "AzureStore", "x.mp4"),
        ("abfs://c@acc.dfs.core.windows.net/d/x.mp4", "AzureStore", "d/x.mp4"),
    ],
)
def test_other_stores_are_opened_from_the_environment(monkeypatch, uri, kind, key):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acc")
    store, found = reader._open_other_store(uri)
    assert (type(store).__name__, found) == (kind, key)


def test_the_storage_is_told_apart_from_the_clip():
    with pytest.raises(DecodeError) as error:
        read_once("/nowhere/x.mp4", 5)
    assert not isinstance(error.value, StorageFaultError)


def test_reading_videos(tmp_path):
    (tmp_path / "v").write_bytes(b"12345")
    assert read_video(str(tmp_path / "v"), 10) == b"12345"
    for uri, reason in (
        (tmp_path / "none", "missing_file"),
        (tmp_path, "not_a_file"),
        (tmp_path / "v", "too_many_bytes"),
    ):
        with pytest.raises(DecodeError) as caught:
            read_video(str(uri), 4)
        assert caught.value.reason == reason
