"""What a process may read and write is tried out: moto's S3 behind a proxy that refuses as it is told."""

import os
import time
from threading import Event
from urllib import request

import obstore
import pyarrow as pa
import pytest
from faulty_s3 import told_s3

from m3ray.storage.object_store import open_store
from m3ray.video import reader
from m3ray.video.access import Look, Refusal, look, places_of, within, write_refusal
from m3ray.video.isolation import way_out, why_not_isolated


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
    with told_s3(lambda method, path: fault(path) if method == "GET" else None) as asked:
        upload(*there)
        del asked[:]
        found = look(uris(*keys))
        return found, len(asked)


def test_one_byte_of_one_clip_is_asked_for():
    assert looked(lambda _: None) == (Look("s3://clips/a"), 1)


def test_a_missing_clip_says_nothing_of_the_rights():
    assert looked(lambda _: None, keys=("gone", "b")) == (Look("s3://clips/b"), 2)
    assert looked(lambda _: None, keys=("gone", "none")) == (Look(), 2)


def test_a_missing_clip_that_is_called_forbidden_says_nothing_either():
    """As S3 answers for what is missing where the bucket may not be listed."""
    found, _ = looked(lambda path: "403" if path.endswith("gone") else None, keys=("gone", "b"))
    assert found == Look("s3://clips/b")


@pytest.mark.parametrize(
    ("fault", "code"),
    [("403", "AccessDenied"), ("expired", "ExpiredToken"), ("skewed", "RequestTimeTooSkewed"),
     ("no bucket", "NoSuchBucket"), ("broken", "ConnectionFailed")],
)  # fmt: skip
def test_what_is_wrong_with_rights_keys_bucket_or_network_is_told(fault, code):
    found, _ = looked(lambda _: fault)
    assert (found.refusal.action, found.refusal.uri, found.refusal.code) == ("read", "s3://clips/a", code)


@pytest.mark.parametrize("fault", ["503", "500", "archived"])
def test_a_busy_server_and_an_archived_clip_are_left_to_the_job(fault):
    """The job itself waits for the one, and rejects the other by itself."""
    assert looked(lambda _: fault)[0] == Look()


def test_an_empty_object_was_read():
    with told_s3(lambda *_: None):
        upload("a")
        obstore.put(open_store("s3://clips/x")[0], "a", b"")
        assert look(uris("a")) == Look("s3://clips/a")


@pytest.mark.parametrize(("method", "action"), [("PUT", "write"), ("DELETE", "delete")])
def test_writing_and_deleting_are_told_apart(method, action):
    with told_s3(lambda asked, path: "403" if asked == method and "write-test" in path else None):
        upload()
        found = write_refusal("s3://roots/r")
    assert (found.action, found.code) == (action, "AccessDenied")
    assert found.uri.startswith("s3://roots/r/runs/write-test-")


def test_a_root_that_may_be_written_is_as_before(tmp_path):
    assert write_refusal(str(tmp_path)) is None
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "runs").write_text("a file")
    found = write_refusal(str(tmp_path))
    assert found.action == "write"
    assert "runs" in found.words()


def test_what_to_do_names_the_right_and_whose_it_is():
    denied = Refusal("write", "s3://roots/r/runs/x", "AccessDenied", "Access Denied")
    assert denied.words() == "cannot write s3://roots/r/runs/x: 403 AccessDenied (Access Denied)"
    assert denied.way_out("the workers'") == "give the workers' role s3:PutObject on arn:aws:s3:::roots/*"
    keyless = Refusal("read", "s3://clips/a", "NoCredentials")
    assert keyless.way_out("the workers'").startswith("give the workers' machines a role with s3:GetObject on arn:aws")
    azure = Refusal("read", "az://c/a", "AuthorizationPermissionMismatch")
    assert azure.way_out("the workers'") == "give the identity Storage Blob Data Reader (on the workers' side)"


def test_a_secret_is_in_no_words():
    assert "hush" not in Refusal("read", "https://u:hush@h/a.mp4", "ConnectionFailed").words()


def test_a_few_clips_of_each_bucket_and_prefix():
    rows = [f"s3://a/x/{k}.mp4" for k in range(100)] + ["s3://a/y/0.mp4", "s3://b/0.mp4", "/nfs/videos/0.mp4", "", None]
    found = places_of(pa.chunked_array([rows[:50], rows[50:]]))
    ends = ("s3://a/x/0.mp4", "s3://a/x/33.mp4", "s3://a/x/66.mp4", "s3://a/x/99.mp4")
    assert found == (ends, ("s3://a/y/0.mp4",), ("s3://b/0.mp4",), ("/nfs/videos/0.mp4",))
    assert places_of(pa.chunked_array([["", None]])) == ()


def test_very_many_clips_and_prefixes_are_few_places():
    found = places_of(pa.chunked_array([[f"s3://a/{k:06d}/x.mp4" for k in range(300_000)]]))
    assert len(found) == 16
    assert all(len(place) <= 4 for place in found)


def test_what_hangs_is_not_waited_for():
    begun = time.monotonic()
    found = within(0.2, [lambda: "quick", lambda: Event().wait(5)], str)
    assert found == ["quick", "1"]
    assert time.monotonic() - begun < 2


def test_what_a_call_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        within(5, [lambda: 1 / 0], str)


# Whether the decoding child can leave the network.


def test_isolation_is_that_of_the_decoding_child(clip_bytes):
    from m3ray.config import DecodeConfig, LimitsConfig
    from m3ray.video.sandbox import Decoder

    child = Decoder(DecodeConfig(), LimitsConfig())
    list(child.windows(clip_bytes))
    assert (why_not_isolated() == "") == child.isolated
    child.close()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"sys/user/max_user_namespaces": "0\n"}, "set sysctl user.max_user_namespaces to 10000"),
        ({"sys/user/max_user_namespaces": "9", "sys/kernel/unprivileged_userns_clone": "0"},
         "set sysctl kernel.unprivileged_userns_clone to 1"),
        ({"sys/kernel/apparmor_restrict_unprivileged_userns": "1"},
         "set sysctl kernel.apparmor_restrict_unprivileged_userns to 0"),
        ({"self/status": "Name:\tx\nSeccomp:\t2\n"}, "seccomp filter forbids it"),
        ({}, "the kernel or a security module forbids it"),
    ],
)  # fmt: skip
def test_what_keeps_a_process_in_the_network_is_named(tmp_path, files, words):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert words in way_out(tmp_path)


def test_a_refused_unshare_is_told_with_its_error(monkeypatch):
    from m3ray.video import isolation

    monkeypatch.setattr(isolation, "_TRY", "import errno, sys; sys.exit(errno.EPERM)")
    assert why_not_isolated().startswith("EPERM: ")
