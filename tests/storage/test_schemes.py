"""Which URIs are read, and how buckets are that are not read as the root's."""

import os

import numpy as np
import pyarrow as pa
import pytest

from m3ray.config import StorageConfig
from m3ray.datasets.table import read_table
from m3ray.errors import ConfigError, SchemaError
from m3ray.storage.filesystems import stat_uri
from m3ray.storage.schemes import (
    READABLE,
    access_as_environment,
    check_uris,
    parse_scheme,
    read_access_environment,
    s3_access_options,
)


@pytest.fixture
def told(monkeypatch):
    def tell(**buckets):
        for name, value in access_as_environment(StorageConfig(**buckets)).items():
            monkeypatch.setenv(name, value)

    return tell


@pytest.mark.parametrize("scheme", READABLE)
def test_schemes_that_are_read(scheme):
    assert parse_scheme(f"{scheme}://place/x.mp4") == scheme
    check_uris(pa.chunked_array([[f"{scheme}://place/x.mp4"]]))


@pytest.mark.parametrize("scheme", ["ftp", "hdfs", "sftp", "hf", "S3", "wasbs"])
def test_others_are_refused_at_once_with_their_row_and_a_way_out(scheme):
    uris = pa.chunked_array([["/x.mp4", None], ["", f"{scheme}://place/x.mp4", f"{scheme}://place/y.mp4"]])
    with pytest.raises(SchemaError, match=rf"^row 4: {scheme}:// is not read.*copy the videos to .* s3://") as error:
        check_uris(uris)
    assert error.value.exit_status == 2
    with pytest.raises(SchemaError, match=r"^row 9: "):
        check_uris(uris, np.array([1, 2, 5, 9, 10]))


def test_a_table_names_the_row_that_it_has_in_the_file(tmp_path):
    """Blank lines count, as in whatever shows the file."""
    (tmp_path / "t.csv").write_text("uri,score\na.mp4,0.5\n\n\nftp://h/x.mp4,0.5\n")
    with pytest.raises(SchemaError, match=r"t\.csv: row 4: ftp:// is not read"):
        read_table(str(tmp_path / "t.csv"))


def test_case_tells_nothing_in_a_table_s_schemes(tmp_path):
    (tmp_path / "t.csv").write_text("uri\nHTTPS://Host/C.mp4\nS3://bucket/Key\nFILE:///V/x.mp4\nGs://b/S3://x\na.mp4\n")
    found = read_table(str(tmp_path / "t.csv")).table["uri"].to_pylist()
    assert found == ["https://Host/C.mp4", "s3://bucket/Key", "file:///V/x.mp4", "gs://b/S3://x", f"{tmp_path}/a.mp4"]


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("data:video/mp4;base64,AAAA", r"a video inside its uri \(data:\) is not read: write it to a file"),
        ("DATA:,x", r"a video inside its uri \(DATA:\)"),
        ("s3:/vid/c.mp4", r"s3:/ has one slash .*: write s3://vid/c\.mp4, or \./s3:/ for a folder"),
        ("HTTPS:/h/c.mp4", r".*write https://h/c\.mp4"),
        ("hdfs:/n/c.mp4", "hdfs:/ has one slash"),
        ("FTP://h/c.mp4", "FTP:// is not read"),
    ],
)
def test_misspelt_schemes_are_refused_with_what_to_write(tmp_path, uri, words):
    (tmp_path / "t.csv").write_text(f'uri\na.mp4\n"{uri}"\n')
    with pytest.raises(SchemaError, match=f"row 2: {words}"):
        read_table(str(tmp_path / "t.csv"))


def test_names_with_colons_are_paths():
    names = ["./s3:/x.mp4", "s3:x.mp4", "C:/videos/x.mp4", "data:x.mp4", "http:a@b.mp4", "12:30/x.mp4", "file:/x.mp4"]
    check_uris(pa.chunked_array([names]))


def test_the_environment_tells_another_process(told):
    told(anonymous=("open", "s3://public/videos/"), requester_pays=("theirs",))
    assert s3_access_options("open") == s3_access_options("public") == {"skip_signature": True}
    assert s3_access_options("theirs") == {"request_payer": True}
    assert s3_access_options("ours") == {}
    found = read_access_environment()
    assert found == {name: os.environ[name] for name in found}
    told()
    assert s3_access_options("open") == s3_access_options("theirs") == {}, "the next job's options are its own"


def test_what_cannot_list_a_requester_pays_bucket_says_so(told):
    told(requester_pays=("theirs",))
    with pytest.raises(ConfigError, match=r"read clip by clip, not listed.*--dataset table"):
        stat_uri("s3://theirs/videos")
