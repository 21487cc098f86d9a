"""Secrets in URIs, in every form that one can be written in."""

import time

import numpy as np
import pyarrow as pa
import pytest

from m3ray.datasets.clip_checks import check_clips
from m3ray.datasets.table import read_table
from m3ray.errors import ConfigError, SchemaError
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.filesystems import absolute_uri, open_filesystem
from m3ray.storage.secrets import find_secret_rows, has_secret, redact


def words(text):
    return text.split()


# hush stands in each where the secret does.
WITH = [
    "s3://KEY:hush@bucket/x.mp4",
    "s3://KEY:hu/sh@bucket/x.mp4",  # a secret key of AWS may hold slashes
    "S3://KEY:hush@bucket/x.mp4",
    "s3://KEY%3Ahush%40bucket/x.mp4",
    "s3://key:hush%2Fret@bucket/x.mp4",
    "s3://hush@bucket/x.mp4",
    "s3:/KEY:hush@bucket/x.mp4",
    "s3:KEY:hush@bucket/x.mp4",
    "s3://bucket/x.mp4?access_key=KEY&secret_key=hush",  # pyarrow's own form
    "https://user:hush@host/x.mp4",
    "https://user:hu:sh@host:8443/x.mp4",
    "https://hush@host/x.mp4",
    "https://b.s3.amazonaws.com/x.mp4?X-Amz-Algorithm=A&X-Amz-Credential=hush&X-Amz-Signature=hush",
    "https://b.s3.amazonaws.com/x.mp4?AWSAccessKeyId=K&Signature=hush&Expires=1",
    "https://storage.googleapis.com/b/x.mp4?X-Goog-Signature=hush",
    "https://acc.blob.core.windows.net/c/x.mp4?sv=2024-01-01&sig=hush",
    "https://d1.cloudfront.net/x.mp4?Policy=hush&Key-Pair-Id=K",
    "https://host/x.mp4?token=hush",
    "https://host/x.mp4?access_token=hush",
    "https://host/x.mp4#access_token=hush",
    "https://host/x.mp4%3Ftoken%3Dhush",
    "az://c/x.mp4?sig=hush",
    "abfs://user:hush@account.dfs.core.windows.net/x.mp4",
    "ftp://user:hush@host/x.mp4",
    "  s3://KEY:hush@bucket/x.mp4",
    "s3://AKIA:12345/hush@bucket/x.mp4",  # what stands before its first slash is no port
    "s3:KEY:12/hush@bucket/x.mp4",
    "s3://KEY%253Ahush%2540bucket/x.mp4",
    "https://user%25253Ahush%252540host/x.mp4",
    "//user:hush@host/x.mp4",
    "file:https://user:hush@host/x.mp4",
    "file:s3:KEY:hush@bucket/x.mp4",
    "blob:https://user:hush@host/x.mp4",
    "https://proxy/get?url=https%3A%2F%2Fuser%3Ahush%40host%2Fx.mp4",
    "s3://b/x.mp4?versionId=1&X-Amz-Signature=hush",
    "gs://b/x.mp4?X-Goog-Credential=hush",
    "s3://b/x.mp4?AWSAccessKeyId=K&Signature=hush",
    "https://host/x.mp4?key=AIzahush",  # Google's keys all begin so
    "https://host/~/hdnts=exp=1~hmac=hush/x.mp4",
    "https://host/x.mp4;jsessionid=hush",
    "https://host/x.mp4? token=hush",
    "https://host/x.mp4?v=1& sig=hush",
    "https://host/x.mp4?%20token=hush",
    "https://host/x.mp4?%2574oken=hush",
    "https://host/x.mp4?+token=hush",
    "https://host/x.mp4?token%5B%5D=hush",
    *(
        f"https://host/x.mp4?v=1&{name}=hush"
        for name in words(
            "client-secret clientsecret oauth_signature x-oss-signature q-signature auth_key authkey account_key "
            "sharedkey private_key credential credentials hmac pass passphrase bearer session sessionid sas hdnea "
            "hdnts wsSecret txSecret rlkey tok tkn token[] PHPSESSID api_key apiKey AccessKeyId X-Auth-Token pageToken "
            "user[password] sign upsig OSSAccessKeyId jwt pwd Authorization x-ms-signature accountkey secret_id"
        )
    ),
]
WITHOUT = [
    "s3://bucket/x@y:z.mp4",
    "s3://bucket/a:b@c.mp4",
    "s3://bucket/x.mp4?v=1",
    "s3://bucket/token=1/x.mp4",  # a partition of Hive's
    "https://host/x.mp4?id=3",
    "https://host:8443/a@b.mp4",
    "abfs://container@account.dfs.core.windows.net/x.mp4",
    "s3://arn:aws:s3:eu-west-1:1:accesspoint/videos/a@b.mp4",
    "/videos/user:word@home.mp4",
    "user:word@home.mp4",
    "file:///videos/a@b.mp4",
    "file:///a:b@c.mp4",
    "file:///videos/x?token=1.mp4",
    "file:a:b@c.mp4",
    "http:a@b.mp4",
    "/a:b@c.mp4",
    "videos/a:b@c?token=1.mp4",
    "//server/a:b@c.mp4",
    "s3://b/x&sig=3.mp4",
    "s3://b/a#token=1.mp4",
    "s3://b/tok?token=x.mp4",
    "s3://b/tok?sig=x.mp4",
    "az://c/tok?token=x.mp4",
    "",
    *(
        f"https://host/x.mp4?{name}=3"
        for name in words(
            "design assign keyword key primary_key author authors compass bypass secretary sign_language pass_count "
            "session_number monkey passenger signal config insight tokyo expires md5 hash sid t"
        )
    ),
    "https://host/x.mp4?token=",
    "https://host/token=1/x.mp4",
]


@pytest.mark.parametrize("uri", WITH)
def test_a_secret_is_found_hidden_and_refused(uri):
    assert has_secret(uri)
    assert "hush" not in redact(uri)
    assert "hu/sh" not in redact(f"cannot read {uri}: Error performing GET {uri} in 3 ms")
    with pytest.raises(ConfigError, match="credentials") as error:
        open_filesystem(absolute_uri(uri))
    assert "hu" not in str(error.value).replace("through", "")


@pytest.mark.parametrize("uri", WITHOUT)
def test_what_is_none_stays(uri):
    assert not has_secret(uri)
    assert redact(f"cannot read {uri}: no") == f"cannot read {uri}: no"


def test_marks_of_the_sentence_around_stay():
    assert redact("RAY=ray://u:hush@h:1: no such (https://h/x?sig=hush), s3://K:hush@b.") == (
        "RAY=ray://***: no such (https://***), s3://***."
    )


@pytest.mark.parametrize(
    "uri", ["a" * 200_000, "https://" * 3000, "s3://b/" + "%25" * 20_000, "https://h/?" + "a" * 200_000]
)
def test_long_texts_are_searched_in_short_time(uri):
    start = time.process_time()
    assert not has_secret(uri)
    assert redact(uri) == uri
    assert time.process_time() - start < 5  # seconds; a quadratic search takes minutes


def test_rows_of_a_column():
    column = pa.chunked_array([[*WITHOUT, None], WITH])
    assert find_secret_rows(column).tolist() == list(np.arange(len(WITH)) + len(WITHOUT) + 1)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("ftp://host/x.mp4", r"row 2: ftp:// is not read, just paths and s3, gs, az, abfs, abfss, http, https, file"),
        ("S3://b/x.mp4", "row 2: S3:// is not read"),
        ("hdfs://n/x.mp4", "copy the videos to a local folder or s3://"),
        ("https://b.s3.amazonaws.com/x.mp4?X-Amz-Signature=hush", "row 2: .*s3:// instead of a signed URL"),
        ("s3://KEY:hu/sh@b/x.mp4", "row 2: the uri carries credentials"),
    ],
)
def test_a_catalogue_is_refused_before_its_first_clip_is_read(uri, words):
    with pytest.raises(SchemaError, match=words) as error:
        check_clips(catalogue_table([Clip("a", "/x.mp4"), Clip("b", uri), Clip("c", "")]))
    assert error.value.exit_status == 2
    assert "hush" not in str(error.value)
    assert "hu/sh" not in str(error.value)


def test_what_is_read_passes():
    uris = ["gs://b/x.mp4", "az://c/x.mp4", "abfs://c@a.dfs.core.windows.net/x.mp4", "https://h/x.mp4?id=3", "s3://b/x"]
    clips = catalogue_table([Clip(uri, uri) for uri in [*uris, "file:///x.mp4", "", "x:y@z.mp4"]])
    assert check_clips(clips) is clips


def test_a_table_is_refused_before_its_rows_are_put_beneath_its_folder(tmp_path):
    """Without its slashes a URI would pass for a name there, and into catalogue and messages."""
    (tmp_path / "t.csv").write_text("uri\nx.mp4\ns3:KEY:hush@b/x.mp4\n")
    with pytest.raises(SchemaError, match="row 2: the uri carries credentials") as error:
        read_table(str(tmp_path / "t.csv"))
    assert "hush" not in str(error.value)
