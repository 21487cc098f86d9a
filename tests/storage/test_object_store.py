"""S3 through obstore: conditional writes, ranged reads, errors in one line, credentials of the environment."""

import threading
from contextlib import suppress
from urllib import request as urlrequest

import pytest
from faulty_s3 import patch_environment, s3_environment, s3_server
from late_s3 import late_puts

from m3ray.errors import ConfigError
from m3ray.storage import object_store
from m3ray.storage.conditional_file import open_conditional_file
from m3ray.storage.object_store import ChangedError, check_bucket, get_object, open_store, put_object_if
from m3ray.storage.root import Root


@pytest.fixture(scope="module")
def bucket():
    with s3_server() as endpoint, patch_environment(s3_environment(endpoint)):
        urlrequest.urlopen(urlrequest.Request(f"{endpoint}/objects", method="PUT"))
        yield "s3://objects"


def test_an_object_is_made_once(bucket):
    etag = put_object_if(f"{bucket}/once", b"one", expected=None)
    with pytest.raises(ChangedError):
        put_object_if(f"{bucket}/once", b"two", expected=None)
    found = get_object(f"{bucket}/once")
    assert (found.data, found.size, found.etag) == (b"one", 3, etag)


def test_an_object_is_replaced_if_it_is_the_version_expected(bucket):
    first = put_object_if(f"{bucket}/twice", b"one", expected=None)
    second = put_object_if(f"{bucket}/twice", b"two", expected=first)
    for stale in (first, '"another"'):
        with pytest.raises(ChangedError):
            put_object_if(f"{bucket}/twice", b"three", expected=stale)
    assert get_object(f"{bucket}/twice").data == b"two"
    assert get_object(f"{bucket}/twice").etag == second


def test_an_object_that_is_gone_is_not_the_version_expected(bucket):
    etag = put_object_if(f"{bucket}/gone", b"one", expected=None)
    Root(bucket).delete("gone")
    with pytest.raises(ChangedError):
        put_object_if(f"{bucket}/gone", b"two", expected=etag)


def test_what_is_absent_is_told_apart(bucket):
    with pytest.raises(FileNotFoundError, match="s3://objects/none: NoSuchKey"):
        get_object(f"{bucket}/none")
    with pytest.raises(FileNotFoundError, match="s3://nowhere/none: NoSuchBucket"):
        get_object("s3://nowhere/none")
    with pytest.raises(FileNotFoundError, match="NoSuchBucket"):
        put_object_if("s3://nowhere/none", b"", expected=None)


@pytest.mark.parametrize("key", ["a b#c%20?*~[x]é+&=.mp4", "x%2Fy", "back\\slash", "a:b{}^|<>\"'`@$,;"])
def test_keys_are_taken_as_they_stand(bucket, key):
    """What pyarrow wrote, obstore reads under the same key."""
    Root(bucket).write_bytes(b"odd", "keys", key)
    assert get_object(f"{bucket}/keys/{key}").data == b"odd"


def test_a_key_that_cannot_be_asked_for_is_named(bucket):
    with pytest.raises(ConfigError, match=r"a/\.\./b"):
        get_object(f"{bucket}/a/../b")


def test_one_store_a_bucket(bucket):
    (one, key), (other, _) = open_store(f"{bucket}/a/b"), open_store(f"{bucket}/c")
    assert one is other
    assert key == "a/b"


@pytest.mark.parametrize("uri", ["/local", "gs://bucket/key", "s3:///key", "s3://KEY:secret@bucket/key"])
def test_other_places_are_refused_without_their_secrets(uri):
    with pytest.raises(ConfigError, match="expected s3://bucket/key") as caught:
        open_store(uri)
    assert "secret" not in str(caught.value)


def test_of_many_that_write_on_one_version_one_does(bucket):
    uri, won = f"{bucket}/race", []
    first = put_object_if(uri, b"start", expected=None)

    def write(number):
        with suppress(ChangedError):
            won.append((put_object_if(uri, str(number).encode(), expected=first), number))

    with late_puts(lambda _: 0.05):
        threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(won) == 1
    assert get_object(uri).data == str(won[0][1]).encode()


def test_a_profile_is_read_where_the_environment_has_no_keys(bucket, tmp_path, monkeypatch):
    file = tmp_path / "credentials"
    file.write_text("[studio]\naws_access_key_id = of-the-profile\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "studio")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert object_store._profile_provider("KEY", "studio") is None, "keys of the environment come first"
    assert object_store._profile_provider("", "studio")()["access_key_id"] == "of-the-profile"
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ConfigError, match="AWS_PROFILE=nobody"):
        object_store._profile_provider("", "nobody")


def test_a_profile_without_boto3_is_said(monkeypatch):
    monkeypatch.setattr(object_store.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="pip install boto3"):
        object_store._profile_provider("", "studio")


def test_a_local_file_is_replaced_on_the_same_terms(tmp_path):
    file = open_conditional_file(str(tmp_path / "folder" / "f.json"))
    assert file.read() is None
    first = file.replace(b"one", None)
    for stale in (None, "another"):
        with pytest.raises(ChangedError):
            file.replace(b"two", stale)
    assert file.read().tag == first
    assert file.read().data == b"one"
    file.replace(b"two", first)
    assert file.read().data == b"two"


def test_a_bucket_that_is_not_there_is_told_before_anything_is_done(bucket):
    check_bucket(f"{bucket}/nothing/below", "--out")
    with pytest.raises(ConfigError, match="--out s3://nowhere/x: there is no such bucket"):
        check_bucket("s3://nowhere/x", "--out")


def test_an_endpoint_that_does_not_answer_is_told_before_anything_is_done():
    with patch_environment(s3_environment("http://127.0.0.1:9")), pytest.raises(ConfigError, match="does not answer"):
        check_bucket("s3://bucket/x", "--root")
