"""Paths and URIs, the filesystems behind them, and retries of transient errors."""

import os

import pytest
from pyarrow import fs as pafs

from m3ray.errors import ConfigError
from m3ray.storage import filesystems
from m3ray.storage.filesystems import (
    absolute_uri,
    backoff_seconds,
    is_local,
    local_path,
    one_line,
    open_filesystem,
    printable_path,
    retry_transient,
    s3_location,
    stat_uri,
)


def test_relative_paths_become_absolute_and_uris_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_uri("a/b") == f"{tmp_path}/a/b"
    for uri in ("s3://b/k", "file:///x", "file:/x"):
        assert absolute_uri(uri) == uri


@pytest.mark.parametrize(
    ("uri", "path"),
    [("/a b", "/a b"), ("file:///a%20b", "/a b"), ("file://localhost/a", "/a"), ("file:/a", "/a"), ("FILE:///a", "/a")],
)
def test_local_uris(uri, path):
    assert is_local(uri)
    assert local_path(uri) == path


def test_names_that_are_no_utf8_travel_percent_encoded():
    assert os.fsencode(local_path("file:///a%FF")) == b"/a\xff"
    assert printable_path(local_path("file:///a%FF")) == "/a\\xff"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("gs://b/k", "gs:// is not served; give a local folder or an s3:// URI"),
        ("s3://b//k", r"has an empty part \(//\)"),
        ("s3://KEY:hush@b/k", "carries credentials"),
        ("s3://", "s3:// without a bucket"),
    ],
)
def test_what_cannot_be_opened_is_named_without_secrets(uri, message):
    with pytest.raises(ConfigError, match=message) as caught:
        open_filesystem(uri)
    assert "hush" not in str(caught.value)


def test_a_local_path_is_inspected(tmp_path):
    fs, path, info = stat_uri(str(tmp_path))
    assert (type(fs), path, info.type) == (pafs.LocalFileSystem, str(tmp_path), pafs.FileType.Directory)
    assert stat_uri(f"{tmp_path}/none")[2].type == pafs.FileType.NotFound


def test_a_requester_pays_bucket_is_not_listed(monkeypatch):
    monkeypatch.setenv("M3RAY_REQUESTER_PAYS_BUCKETS", "paid")
    with pytest.raises(ConfigError, match="a requester-pays bucket is read clip by clip"):
        stat_uri("s3://paid/videos")


def test_an_error_in_one_line():
    assert one_line(OSError("a\n  b Debug source: Generic {\n}")) == "a b"
    assert one_line(OSError()) == "OSError"


def test_endpoint_and_region_come_from_the_environment(monkeypatch):
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://h:1")
    assert s3_location("b") == ("http://h:1", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3:2")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert s3_location("b") == ("http://s3:2", "eu-west-1")


class Remote:
    """Any filesystem that is not local."""


def fail(times, error):
    left = [error] * times

    def call():
        if left:
            raise left.pop()
        return "done"

    return call, left


@pytest.fixture
def pauses(monkeypatch):
    pauses = []
    monkeypatch.setattr(filesystems.time, "sleep", pauses.append)
    return pauses


def test_transient_errors_are_retried_with_growing_pauses(pauses):
    call, left = fail(3, OSError("AWS Error SLOW_DOWN during GetObject operation"))
    assert retry_transient(call, Remote()) == "done"
    assert not left
    bounds = [(0.25, 0.75), (0.5, 1.5), (1.0, 3.0)]
    assert all(low <= pause <= high for pause, (low, high) in zip(pauses, bounds, strict=True))


def test_the_fourth_failure_is_the_last(pauses):
    call, left = fail(9, OSError("AWS Error SLOW_DOWN during GetObject operation"))
    with pytest.raises(OSError, match="SLOW_DOWN"):
        retry_transient(call, Remote())
    assert len(left) == 5


def test_persistent_and_local_errors_are_not_retried(pauses):
    for error, fs in ((OSError("AWS Error ACCESS_DENIED"), Remote()), (OSError(5, "I/O"), pafs.LocalFileSystem())):
        call, left = fail(2, error)
        with pytest.raises(OSError):
            retry_transient(call, fs)
        assert len(left) == 1
    assert pauses == []


def test_pauses_differ_between_workers():
    assert len({backoff_seconds(1) for _ in range(20)}) > 1
